"""The C source of the networks' passes, kept as text so that the hash of a method's code holds it.

It does what ``networks.discriminator``, ``networks.sampler`` and ``networks.heads`` do, in single
precision. Some rows at a time go through a whole network and back, so that what is intermediate
stays in the cache; products of matrices hold a tile of their result in registers.
"""

SOURCE = r"""#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16  /* numbers in a register of AVX-512 */
#define ACROSS 4  /* registers across a tile of results */
#define DOWN 6    /* rows of a tile */
#define ROWS 192  /* rows that go through a whole network at a time, and stay in the cache */
typedef float V __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

static __thread float *room;
static __thread size_t size;

/* memory for intermediate results, kept from call to call */
static float *space(size_t numbers) {
  if (numbers > size) {
    free(room);
    room = malloc(numbers * sizeof(float));
    size = room ? numbers : 0;
  }
  return room;
}

/* A tile of C = start + A B; an element of A is at a[i * by_row + k * by_column]. */
INLINE void tile(const int down, const int across, int K, const float *a, long by_row,
                 long by_column, const float *b, long ldb, float *c, long ldc, int add,
                 const float *bias) {
  V sum[DOWN][ACROSS];
  for (int i = 0; i < down; i++)
    for (int j = 0; j < across; j++)
      sum[i][j] = add ? *(const V *)(c + i * ldc + LANES * j)
                      : bias ? *(const V *)(bias + LANES * j) : (V){0};
  for (int k = 0; k < K; k++) {
    V row[ACROSS];
    for (int j = 0; j < across; j++) row[j] = *(const V *)(b + k * ldb + LANES * j);
    for (int i = 0; i < down; i++) {
      float x = a[i * by_row + k * by_column];
      for (int j = 0; j < across; j++) sum[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < down; i++)
    for (int j = 0; j < across; j++) *(V *)(c + i * ldc + LANES * j) = sum[i][j];
}

INLINE void panel(const int across, int n, int K, const float *a, long by_row, long by_column,
                  const float *b, long ldb, float *c, long ldc, int add, const float *bias) {
  int i = 0;
  for (; i + DOWN <= n; i += DOWN)
    tile(DOWN, across, K, a + i * by_row, by_row, by_column, b, ldb, c + i * ldc, ldc, add, bias);
  a += i * by_row, c += i * ldc;
  switch (n - i) {
    case 1: tile(1, across, K, a, by_row, by_column, b, ldb, c, ldc, add, bias); break;
    case 2: tile(2, across, K, a, by_row, by_column, b, ldb, c, ldc, add, bias); break;
    case 3: tile(3, across, K, a, by_row, by_column, b, ldb, c, ldc, add, bias); break;
    case 4: tile(4, across, K, a, by_row, by_column, b, ldb, c, ldc, add, bias); break;
    case 5: tile(5, across, K, a, by_row, by_column, b, ldb, c, ldc, add, bias); break;
  }
}

/* C, [n, m], = A, [n, K], times B, [K, m], plus C, or plus a bias, [m], or none. */
static void product(int n, int m, int K, const float *a, long by_row, long by_column,
                    const float *b, float *c, int add, const float *bias) {
  int j = 0;
  for (; j + ACROSS * LANES <= m; j += ACROSS * LANES)
    panel(ACROSS, n, K, a, by_row, by_column, b + j, m, c + j, m, add, bias ? bias + j : 0);
  for (; j + LANES <= m; j += LANES)
    panel(1, n, K, a, by_row, by_column, b + j, m, c + j, m, add, bias ? bias + j : 0);
  int left = m - j;
  if (!left) return;
  float edge[ROWS * LANES], tail[LANES] = {0};
  if (bias) memcpy(tail, bias + j, left * sizeof(float));
  for (int from = 0; from < K; from += ROWS) { /* the last columns, padded with zeros */
    int some = K - from < ROWS ? K - from : ROWS;
    memset(edge, 0, sizeof edge);
    for (int k = 0; k < some; k++)
      memcpy(edge + k * LANES, b + (from + k) * (long)m + j, left * sizeof(float));
    for (int i = 0; i < n; i += DOWN) {
      float out[DOWN * LANES] = {0};
      int down = n - i < DOWN ? n - i : DOWN, on = add || from;
      for (int r = 0; on && r < down; r++)
        memcpy(out + r * LANES, c + (i + r) * (long)m + j, left * sizeof(float));
      panel(1, down, some, a + i * by_row + from * by_column, by_row, by_column, edge, LANES, out,
            LANES, on, bias ? tail : 0);
      for (int r = 0; r < down; r++)
        memcpy(c + (i + r) * (long)m + j, out + r * LANES, left * sizeof(float));
    }
  }
}

static void forward(int n, int m, int K, const float *a, const float *b, const float *bias,
                    float *c) {
  product(n, m, K, a, K, 1, b, c, 0, bias);
}

/* gradient of a layer's matrix, [K, m], from its inputs, [n, K], and slopes, [n, m] */
static void learn(int n, int m, int K, const float *inputs, const float *slopes, float *gradient) {
  product(K, m, n, inputs, 1, K, slopes, gradient, 1, 0);
}

static void column_sums(int n, int m, const float *restrict a, float *restrict sums) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) sums[j] += a[i * (long)m + j];
}

static void axpy(int n, float factor, const float *restrict x, float *restrict y) {
  for (int i = 0; i < n; i++) y[i] += factor * x[i];
}

/* [n, m] -> [m, n] */
static void turned(int n, int m, const float *restrict a, float *restrict t) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) t[j * (long)n + i] = a[i * (long)m + j];
}

INLINE float dot(int n, const float *a, const float *b) {
  V sums = {0};
  int i = 0;
  for (; i + LANES <= n; i += LANES) sums += *(const V *)(a + i) * *(const V *)(b + i);
  float sum = 0;
  for (int j = 0; j < LANES; j++) sum += sums[j];
  for (; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* e^x by a polynomial on half a factor of two to either side, to some 1e-7 of itself */
INLINE float exponential(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  float shifted = x * 1.44269504f + 12582912.0f; /* its last bits are the power of two */
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  float power = shifted - 12582912.0f;
  float f = x - power * 0.693359375f + power * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * f + 1.3981999507e-3f;
  y = y * f + 8.3334519073e-3f;
  y = y * f + 4.1665795894e-2f;
  y = y * f + 1.6666665459e-1f;
  y = y * f + 5.0000001201e-1f;
  y = y * f * f + f + 1.0f;
  bits = (bits - 0x4B400000u + 127u) << 23;
  float scale;
  memcpy(&scale, &bits, 4);
  return y * scale;
}

/* an activation and its slope; leak < 0 for SiLU, else of a leaky ReLU */
static void bend(long n, float leak, const float *restrict x, float *restrict y,
                 float *restrict slope) {
  if (leak < 0)
    for (long i = 0; i < n; i++) {
      float s = 1.0f / (1.0f + exponential(-x[i]));
      y[i] = x[i] * s;
      slope[i] = s * (1.0f + x[i] * (1.0f - s));
    }
  else
    for (long i = 0; i < n; i++) {
      slope[i] = x[i] > 0 ? 1.0f : leak;
      y[i] = x[i] * slope[i];
    }
}

static void times(long n, float *restrict a, const float *restrict b) {
  for (long i = 0; i < n; i++) a[i] *= b[i];
}

static void plus(long n, float *restrict a, const float *restrict b) {
  for (long i = 0; i < n; i++) a[i] += b[i];
}

/* The residual discriminator. With a gradient, [weights] of zeros: that of the logistic loss of the
   verdict plus offset; else the verdict, [n], and its slope by each input, [n, inputs]. */
int discriminator(const float *w, const float *x, const float *offset, const float *shares,
                  float *gradient, float *verdict, float *by_input, int n, int inputs, int width,
                  int blocks, float leak) {
  long square = (long)width * width, each = (long)ROWS * width;
  int layers = 2 * blocks;
  const float *inner = w + (long)inputs * width + width; /* matrix and bias in turn */
  const float *last = inner + layers * (square + width);
  float *g_inner = gradient ? gradient + (inner - w) : 0;
  float *g_last = gradient ? gradient + (last - w) : 0;
  float *at = space(layers * square + (long)inputs * width + (2 * (layers + 1) + 4) * each + ROWS);
  if (!at) return 1;
  float *backwards = at;
  for (int i = 0; i < layers; i++)
    turned(width, width, inner + i * (square + width), backwards + i * square);
  float *first = backwards + layers * square; /* [width, inputs] */
  turned(inputs, width, w, first);
  float *after = first + (long)inputs * width, *slopes = after + (layers + 1) * each;
  float *h = slopes + (layers + 1) * each, *t = h + each, *s = t + each, *rise = s + each;
  for (int from = 0; from < n; from += ROWS) {
    int some = n - from < ROWS ? n - from : ROWS;
    long all = (long)some * width;
    const float *rows = x + (long)from * inputs;
    forward(some, width, inputs, rows, w, w + (long)inputs * width, h);
    for (int i = 0; i < layers; i += 2) {
      const float *one = inner + i * (square + width), *two = one + square + width;
      bend(all, leak, h, after + i * each, slopes + i * each);
      forward(some, width, width, after + i * each, one, one + square, t);
      bend(all, leak, t, after + (i + 1) * each, slopes + (i + 1) * each);
      forward(some, width, width, after + (i + 1) * each, two, two + square, t);
      plus(all, h, t);
    }
    float *end = after + layers * each;
    bend(all, leak, h, end, slopes + layers * each);
    for (int i = 0; i < some; i++) {
      float said = last[width] + dot(width, end + (long)i * width, last);
      if (gradient) { /* the loss falls by 1 - sigma on q, and rises by sigma on r */
        float sigma = 1.0f / (1.0f + exponential(-said - offset[from + i]));
        rise[i] = (sigma - (from + i < n / 2)) * shares[from + i];
      } else {
        verdict[from + i] = said;
        rise[i] = 1.0f;
      }
    }
    if (gradient)
      for (int i = 0; i < some; i++) {
        axpy(width, rise[i], end + (long)i * width, g_last);
        g_last[width] += rise[i];
      }
    memset(s, 0, all * sizeof(float));
    for (int i = 0; i < some; i++) axpy(width, rise[i], last, s + (long)i * width);
    times(all, s, slopes + layers * each);
    for (int i = layers - 2; i >= 0; i -= 2) {
      float *g_one = g_inner + i * (square + width), *g_two = g_one + square + width;
      forward(some, width, width, s, backwards + (i + 1) * square, 0, t);
      times(all, t, slopes + (i + 1) * each);
      if (gradient) {
        learn(some, width, width, after + (i + 1) * each, s, g_two);
        column_sums(some, width, s, g_two + square);
        learn(some, width, width, after + i * each, t, g_one);
        column_sums(some, width, t, g_one + square);
      }
      forward(some, width, width, t, backwards + i * square, 0, h);
      times(all, h, slopes + i * each);
      plus(all, s, h);
    }
    if (gradient) {
      learn(some, width, inputs, rows, s, gradient);
      column_sums(some, width, s, gradient + (long)inputs * width);
    } else
      forward(some, inputs, width, s, first, 0, by_input + (long)from * inputs);
  }
  return 0;
}

/* Where a sampler's weights are: of each layer its matrix and its bias (-1: none), and how far the
   bias of a head is from that of the one before; then the same of the affine short cut's matrix. */
typedef struct {
  int64_t matrix, bias, stride;
} Layer;

/* The sampler: v, [heads, n, out], and what its hidden layers put out, each [heads, n, width]. */
int maps(const float *w, const float *eps, float *v, float *hidden, const Layer *layers,
         const int64_t *widths, int depth, int heads, int n, float gain) {
  int in = widths[0], out = widths[depth + 1];
  const Layer *last = layers + depth, *skip = last + 1;
  float *matrix = space((long)in * out + out);
  if (!matrix) return 1;
  float *shift = matrix + (long)in * out;
  for (int k = 0; k < heads; k++) {
    if (skip->matrix >= 0)
      for (long i = 0; i < (long)in * out; i++)
        matrix[i] = gain * w[skip->matrix + k * skip->stride + i];
    for (int i = 0; i < out; i++) shift[i] = gain * w[last->bias + k * last->stride + i];
    for (int from = 0; from < n; from += ROWS) {
      int some = n - from < ROWS ? n - from : ROWS;
      long row = (long)k * n + from;
      const float *inputs = eps + row * in;
      float *store = hidden;
      for (int i = 0; i < depth; i++) {
        const Layer *layer = layers + i;
        float *h = store + row * widths[i + 1];
        forward(some, widths[i + 1], widths[i], inputs, w + layer->matrix,
                w + layer->bias + k * layer->stride, h);
        for (long j = 0; j < some * widths[i + 1]; j++) {
          float e = exponential(h[j] < 0 ? h[j] : 0) - 1.0f;
          h[j] = h[j] > 0 ? h[j] : e + 0 * h[j];
        }
        inputs = h;
        store += (long)heads * n * widths[i + 1];
      }
      forward(some, out, widths[depth], inputs, w + last->matrix, shift, v + row * out);
      if (skip->matrix >= 0)
        product(some, out, in, eps + row * in, in, 1, matrix, v + row * out, 1, 0);
    }
  }
  return 0;
}

/* Gradient, [weights] of zeros, of the sum of v times a direction, [heads, n, out]. */
int maps_gradient(const float *w, const float *eps, const float *hidden, const float *direction,
                  float *gradient, const Layer *layers, const int64_t *widths, int depth,
                  int heads, int n, float gain) {
  int in = widths[0], out = widths[depth + 1], most = 0;
  const Layer *last = layers + depth, *skip = last + 1;
  long turnings = 0;
  for (int i = 1; i <= depth; i++) {
    turnings += widths[i] * widths[i + 1];
    most = widths[i] > most ? widths[i] : most;
  }
  float *backwards = space(turnings + 2L * ROWS * most);
  if (!backwards) return 1;
  float *one = backwards + turnings, *two = one + (long)ROWS * most, *t = backwards;
  for (int i = 1; i <= depth; i++, t += widths[i - 1] * widths[i])
    turned(widths[i], widths[i + 1], w + layers[i].matrix, t);
  for (int k = 0; k < heads; k++)
    for (int from = 0; from < n; from += ROWS) {
      int some = n - from < ROWS ? n - from : ROWS;
      long row = (long)k * n + from;
      const float *slope = direction + row * out;
      const float *store = hidden;
      for (int i = 1; i < depth; i++) store += (long)heads * n * widths[i];
      t = backwards + turnings;
      column_sums(some, out, slope, gradient + last->bias + k * last->stride);
      if (skip->matrix >= 0)
        learn(some, out, in, eps + row * in, slope, gradient + skip->matrix + k * skip->stride);
      learn(some, out, widths[depth], store + row * widths[depth], slope, gradient + last->matrix);
      for (int i = depth; i >= 1; i--) {
        const Layer *layer = layers + i - 1;
        const float *h = store + row * widths[i];
        float *next = slope == one ? two : one;
        t -= widths[i] * widths[i + 1];
        forward(some, widths[i], widths[i + 1], slope, t, 0, next);
        for (long j = 0; j < some * widths[i]; j++) next[j] *= (h[j] < 0 ? h[j] : 0) + 1.0f;
        store -= i > 1 ? (long)heads * n * widths[i - 1] : 0;
        const float *inputs = i > 1 ? store + row * widths[i - 1] : eps + row * in;
        learn(some, widths[i], widths[i - 1], inputs, next, gradient + layer->matrix);
        column_sums(some, widths[i], next, gradient + layer->bias + k * layer->stride);
        slope = next;
      }
    }
  for (int k = 0; k < heads && gain != 1.0f; k++) {
    for (int i = 0; i < out; i++) gradient[last->bias + k * last->stride + i] *= gain;
    for (long i = 0; skip->matrix >= 0 && i < (long)in * out; i++)
      gradient[skip->matrix + k * skip->stride + i] *= gain;
  }
  return 0;
}
"""
