/*kernel_factory
# One pass over x and dy; rows in registers. Blocks that stay walk over the rows and leave one part of dw each, which a
# second launch adds up.
spec = "rms_norm_residual_backward"
alignment = "min(16, 4 * VEC)"
types = { T = "dy", X = "x", W = "w" }
constraints = [
    "n % VEC == 0",
    "n <= LANES * VEC * CHUNKS * CLUSTER",
    # Threads without elements: rows far shorter than this are for others.
    "LANES * VEC * CHUNKS * CLUSTER <= max(4 * n, 512)",
    "LANES * ROWS <= 1024 and LANES * ROWS % 32 == 0",
    "CLUSTER == 1 or LANES >= 256 and ROWS == 1 and n >= 4096 * CLUSTER",
    # All that stay at once: no fewer than a quarter of the threads that there is room for, and no more than all.
    "LANES * ROWS * BLOCKS >= 512 * 132 and LANES * ROWS * BLOCKS <= 2048 * 148",
    # Registers: the sums, the weights, the elements of a row, and those of the next one.
    "CHUNKS * VEC * (2 + RESIDENT + PREFETCH) <= min(160, 65536 / (LANES * ROWS) - 32)",
]

[tunables]
VEC = [8, 4]
LANES = { powers = [8, 512], default = 128 }
ROWS = { powers = [1, 16] }
CHUNKS = { powers = [1, 4] }
CLUSTER = { powers = [1, 16] }
# Multiples of what has 132 multiprocessors, and 148.
BLOCKS = [264, 296, 528, 592, 132, 148]
RESIDENT = true
PREFETCH = true
CACHE = ["streaming", "normal"]
SUM_ROWS = { powers = [8, 32], default = 16 }

[[scratch]]
name = "partial_w"
bytes = "4 * n * min(BLOCKS / CLUSTER, ceil_div(m, ROWS))"

[[launch]]
entry = "rms_norm_backward_rows"
grid = ["min(BLOCKS / CLUSTER, ceil_div(m, ROWS)) * CLUSTER"]
block = ["LANES", "ROWS"]
cluster = ["CLUSTER"]
shared = "(ROWS > 1) * 4 * LANES * VEC * CHUNKS"
params = ["x", "w", "dy", "rstd", "dresidual_out", "dx", "partial_w", "offset", { u32 = "m" }, { u32 = "n" }]

[[launch]]
entry = "rms_norm_backward_sum"
grid = ["ceil_div(n, 32)"]
block = [32, "SUM_ROWS"]
params = ["partial_w", "dw", { u32 = "min(BLOCKS / CLUSTER, ceil_div(m, ROWS))" }, { u32 = "n" }]
*/
#define BIAS 0
#define RESIDUAL 1
#define WIDE 0
#include "backward_rows.cuh"
#include "backward_sum.cuh"
