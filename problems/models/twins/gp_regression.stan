// A Gaussian process with a Matern kernel of order 3/2, seen through noise; whitened or as it is.
data {
  int<lower=1> N;
  array[N] real x;
  vector[N] y;
  real<lower=0> amplitude;
  real<lower=0> lengthscale;
  real<lower=0> noise;
  int<lower=0, upper=1> whitened;
}
transformed data {
  matrix[N, N] root = cholesky_decompose(gp_matern32_cov(x, amplitude, lengthscale));
}
parameters {
  vector[N] z;
}
transformed parameters {
  vector[N] f = whitened ? root * z : z;
}
model {
  if (whitened) {
    z ~ std_normal();
  } else {
    z ~ multi_normal_cholesky(rep_vector(0, N), root);
  }
  y ~ normal(f, noise);
}
