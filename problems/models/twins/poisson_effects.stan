// Poisson regression of small counts in groups, whose effects are in units of their spread.
data {
  int<lower=1> J;
  int<lower=1> N;
  matrix[J, N] x;
  array[J, N] int<lower=0> y;
  real<lower=0> intercept_scale;
  real<lower=0> slope_scale;
  real<lower=0> spread_scale;
}
parameters {
  real intercept;
  real slope;
  real<lower=0> spread;
  vector[J] u;
}
transformed parameters {
  vector[J] effects = spread * u;
}
model {
  intercept ~ normal(0, intercept_scale);
  slope ~ normal(0, slope_scale);
  spread ~ normal(0, spread_scale);
  u ~ std_normal();
  for (j in 1 : J) {
    y[j] ~ poisson_log(intercept + effects[j] + slope * x[j]);
  }
}
