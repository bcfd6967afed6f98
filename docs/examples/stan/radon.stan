// Radon in houses: the level differs from county to county, and falls from basement to first floor.
data {
  int<lower=1> N; // houses
  int<lower=1> J; // counties
  array[N] int<lower=1, upper=J> county;
  vector[N] first_floor; // 1 where the measurement was taken there, 0 in the basement
  vector[J] uranium; // in the county's soil, log, standardised
  vector[N] log_radon;
}
parameters {
  real intercept;
  real floor_effect;
  real uranium_effect;
  real<lower=0> between; // standard deviation of the counties about the line
  real<lower=0> within; // and of the houses of a county
  vector[J] county_effect; // in units of `between`
}
transformed parameters {
  vector[J] county_level = intercept + uranium_effect * uranium + between * county_effect;
}
model {
  intercept ~ normal(0, 5);
  floor_effect ~ normal(0, 2);
  uranium_effect ~ normal(0, 2);
  between ~ normal(0, 1);
  within ~ normal(0, 1);
  county_effect ~ std_normal();
  log_radon ~ normal(county_level[county] + floor_effect * first_floor, within);
}
