// Eight schools, non-centred: effects in units of their spread.
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
  vector[J] eta;
}
transformed parameters {
  vector[J] theta = mu + tau * eta;
}
model {
  mu ~ normal(0, mu_scale);
  tau ~ cauchy(0, tau_scale);
  eta ~ std_normal();
  y ~ normal(theta, sigma);
}
