// A Gaussian process with an exponential kernel behind labels, by the Cholesky factor of its
// covariance; amplitude and length scale unknown.
data {
  int<lower=2> N;
  array[N] real x;
  array[N] int<lower=0, upper=1> y;
  real<lower=0> amplitude_median;
  real<lower=0> lengthscale_median;
  real<lower=0> spread;
}
parameters {
  real<lower=0> amplitude;
  real<lower=0> lengthscale;
  vector[N] w;
}
transformed parameters {
  vector[N] f = cholesky_decompose(gp_exponential_cov(x, amplitude, lengthscale)) * w;
}
model {
  amplitude ~ lognormal(log(amplitude_median), spread);
  lengthscale ~ lognormal(log(lengthscale_median), spread);
  w ~ std_normal();
  y ~ bernoulli_logit(f);
}
