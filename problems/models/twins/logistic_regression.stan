// Logistic regression with normal priors of one scale, for the intercept too.
data {
  int<lower=1> N;
  int<lower=1> K;
  matrix[N, K] x;
  array[N] int<lower=0, upper=1> y;
  real<lower=0> prior_scale;
}
parameters {
  real intercept;
  vector[K] weights;
}
model {
  intercept ~ normal(0, prior_scale);
  weights ~ normal(0, prior_scale);
  y ~ bernoulli_logit_glm(x, intercept, weights);
}
