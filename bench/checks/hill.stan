// The hill on which methods are checked (hill.py), for those that run Stan programs.
data {
  int<lower=1> D;
  vector[D] loc;
  matrix[D, D] precision;
}
parameters {
  vector[D] z;
}
model {
  target += -0.5 * quad_form(precision, z - loc);
}
