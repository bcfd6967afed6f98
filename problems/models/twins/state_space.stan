// A local linear trend: a level that moves by its slope, and a slope that wanders.
data {
  int<lower=2> T;
  vector[T] y;
  real<lower=0> initial;
  real<lower=0> level_noise;
  real<lower=0> slope_noise;
  real<lower=0> noise;
}
parameters {
  vector[T] level;
  vector[T] slope;
}
model {
  level[1] ~ normal(0, initial);
  slope[1] ~ normal(0, initial);
  level[2 : T] ~ normal(level[1 : T - 1] + slope[1 : T - 1], level_noise);
  slope[2 : T] ~ normal(slope[1 : T - 1], slope_noise);
  y ~ normal(level, noise);
}
