// Linear regression with a horseshoe prior, between its centred and its non-centred coordinates:
// u is a weight in standard errors where the data decide, and in units of its prior elsewhere.
data {
  int<lower=1> N;
  int<lower=1> K;
  matrix[N, K] x;
  vector[N] y;
  real<lower=0> relevant;
}
parameters {
  vector[K] u;
  vector<lower=0>[K] lambda;
  real<lower=0> t;
  real<lower=0> sigma;
}
transformed parameters {
  real tau = relevant / (K - relevant) * sigma / sqrt(N) * t;
  // of the prior's variance over that of the data, for each weight
  vector[K] odds = N * square(tau * lambda / sigma);
  vector[K] weights = sigma / sqrt(N) * u .* sqrt(odds ./ (1 + odds));
}
model {
  u ~ normal(0, sqrt(1 + odds));
  lambda ~ cauchy(0, 1);
  t ~ cauchy(0, 1);
  sigma ~ std_normal();
  y ~ normal(x * weights, sigma);
}
