/*kernel_factory
# One pass over x and dy; rows in registers. Blocks that stay walk over the rows and leave one part of dw and db each, which a
# second launch adds up.
spec = "rms_norm_bias_backward"
alignment = "min(16, 4 * VEC)"
types = { T = "dy", X = "x", W = "w" }
constraints = [
    "n % VEC == 0",
    "n <= LANES * VEC * CHUNKS * CLUSTER",
    # Threads without elements: rows far shorter than this are for others. Counts of threads that are no power of two are for
    # the lengths that they fit.
    "LANES * VEC * CHUNKS * CLUSTER <= max(5 * n, 512)",
    "LANES % 3 * (LANES % 5) * (LANES % 7) > 0 or 8 * LANES * VEC * CHUNKS * CLUSTER <= 9 * n",
    "VEC * T_BYTES == 16",
    "LANES * ROWS <= 1024 and LANES * ROWS % 32 == 0",
    "CLUSTER == 1 or LANES >= 128 and ROWS == 1 and LANES * VEC * CHUNKS >= 2048",
    # Threads of a multiprocessor: all blocks stay at once.
    "LANES * ROWS * ((BLOCKS + 32) / 128) >= 256 and LANES * ROWS * ((BLOCKS + 32) / 128) <= 2048",
    # A cluster stays within a group of multiprocessors, whose sizes differ from card to card (an H200 of 132 was seen to have no
    # room for 32 clusters of 4, nor for 8 of 16). What does not fit at once comes after all others, and takes as long again.
    "CLUSTER <= 2 or BLOCKS % 132 * (BLOCKS % 148) > 0",
    "CLUSTER > 1 or BLOCKS % 120 * (BLOCKS % 112) > 0",
    # Sums of rows are on their way where threads meet.
    "LATE == 0 or AHEAD > 2 and LANES * CLUSTER > 32",
    # Registers: the sums, the weights, the elements of rows, and those of the next ones.
    "CHUNKS * VEC * (4 * (2 + RESIDENT) + (1 - LATE) * DEEP * (X_BYTES + T_BYTES) * (1 + (AHEAD == 1))) / 4 + 24 <= min(200, 65536 / (LANES * ROWS * ((BLOCKS + 32) / 128)))",
    # Shared memory.
    "max(2 * (ROWS > 1) * ROWS * LANES * VEC * CHUNKS * 2, (AHEAD > 1) * AHEAD * LANES * ROWS * DEEP * (CHUNKS * VEC * (X_BYTES + T_BYTES) + 4)) <= 216 * 1024 / ((BLOCKS + 32) / 128)",
]

[tunables]
VEC = [8, 4]
LANES = [256, 128, 512, 64, 1024, 32, 16, 8, 384, 768, 320, 640, 448, 896]
ROWS = { powers = [1, 32] }
CHUNKS = { powers = [1, 8] }
CLUSTER = { powers = [1, 16] }
DEEP = { powers = [1, 4] }
AHEAD = [1, 2, 3, 4]
LATE = false
# Multiples of 132 multiprocessors, of 148, and of what clusters can have: 128, 120 or 112.
BLOCKS = [264, 256, 528, 132, 128, 120, 112, 396, 240, 224, 296, 148]
RESIDENT = true
SUM_ROWS = [32, 64]

[[scratch]]
name = "partial_w"
bytes = "4 * n * min(BLOCKS / CLUSTER, ceil_div(m, ROWS * DEEP))"

[[scratch]]
name = "partial_b"
bytes = "4 * n * min(BLOCKS / CLUSTER, ceil_div(m, ROWS * DEEP))"

[[launch]]
entry = "rms_norm_backward_rows"
grid = ["min(BLOCKS / CLUSTER, ceil_div(m, ROWS * DEEP)) * CLUSTER"]
block = ["LANES", "ROWS"]
cluster = ["CLUSTER"]
shared = "max(2 * (ROWS > 1) * ROWS * LANES * VEC * CHUNKS * 2, (AHEAD > 1) * AHEAD * LANES * ROWS * DEEP * (CHUNKS * VEC * (X_BYTES + T_BYTES) + 4))"
params = ["x", "w", "dy", "rstd", "dx", "partial_w", "partial_b", "offset", { u32 = "m" }, { u32 = "n" }]

[[launch]]
entry = "rms_norm_backward_sum"
grid = ["ceil_div(n, 512 / SUM_ROWS)", 2]
block = ["512 / SUM_ROWS", "SUM_ROWS"]
programmatic = true
params = ["partial_w", "dw", "partial_b", "db", { u32 = "min(BLOCKS / CLUSTER, ceil_div(m, ROWS * DEEP))" }, { u32 = "n" }]
*/
#define BIAS 1
#define RESIDUAL 0
#define CACHE_streaming 1
#define WIDE 0
#include "backward_rows.cuh"
#include "backward_sum.cuh"
