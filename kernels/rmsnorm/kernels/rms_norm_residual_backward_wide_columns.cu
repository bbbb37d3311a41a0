/*kernel_factory
# Rows of any length: their means first, then tiles of columns that read x and dy once more and leave parts of dw, which
# a third launch adds up.
spec = "rms_norm_residual_backward_wide"
fallback = "only"
alignment = 4
types = { T = "dy", X = "x", W = "w" }

[tunables]
MEAN_THREADS = { powers = [128, 512], default = 256 }
TILE_ROWS = { powers = [4, 32], default = 8 }
PARTS = { powers = [16, 128], default = 64 }
SUM_ROWS = { powers = [8, 32], default = 16 }

[[scratch]]
name = "partial_w"
bytes = "4 * n * min(PARTS, ceil_div(m, TILE_ROWS))"

[[scratch]]
name = "means"
bytes = "4 * m"

[[launch]]
entry = "rms_norm_backward_means"
grid = ["m"]
block = ["MEAN_THREADS"]
params = ["x", "w", "dy", "rstd", "means", "offset", { u32 = "n" }]

[[launch]]
entry = "rms_norm_backward_columns"
grid = ["ceil_div(n, 32)", "min(PARTS, ceil_div(m, TILE_ROWS))"]
block = [32, "TILE_ROWS"]
params = ["x", "w", "dy", "rstd", "dresidual_out", "means", "dx", "dresidual", "partial_w", "offset", { u32 = "m" }, { u32 = "n" }]

[[launch]]
entry = "rms_norm_backward_sum"
grid = ["ceil_div(n, 512 / SUM_ROWS)"]
block = ["512 / SUM_ROWS", "SUM_ROWS"]
params = ["partial_w", "dw", { u32 = "min(PARTS, ceil_div(m, TILE_ROWS))" }, { u32 = "n" }]
*/
#define BIAS 0
#define RESIDUAL 1
#define WIDE 1
#define VEC 1
#include "backward_columns.cuh"
#include "backward_sum.cuh"
