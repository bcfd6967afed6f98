// Eight schools, centred: the effects themselves, tied to their mean where the spread is small.
data {
  int<lower=1> J;
  vector[J] y;
  vector<lower=0>[J] sigma;
  real<lower=0> mu_scale;
  real<lower=0> tau_scale;
}
parameters {
  real mu;
  real<lower=0> tau;
  vector[J] theta;
}
model {
  mu ~ normal(0, mu_scale);
  tau ~ cauchy(0, tau_scale);
  theta ~ normal(mu, tau);
  y ~ normal(theta, sigma);
}
