// Linear regression without an intercept, its noise known.
data {
  int<lower=1> N;
  int<lower=1> K;
  matrix[N, K] x;
  vector[N] y;
  real<lower=0> prior_scale;
  real<lower=0> noise;
}
parameters {
  vector[K] beta;
}
model {
  beta ~ normal(0, prior_scale);
  y ~ normal(x * beta, noise);
}
