/*kernel_factory
# A row in the registers of some lanes, several warps or the blocks of a cluster; x is read once. No thread comes twice.
spec = "rms_norm_bias"
alignment = "min(16, 4 * VEC)"
types = { T = "x", W = "w" }
constraints = [
    "n % VEC == 0",
    "n <= LANES * VEC * CHUNKS * CLUSTER",
    # Threads without elements: rows far shorter than this are for others.
    "LANES * VEC * CHUNKS * CLUSTER <= max(4 * n, 512)",
    "LANES * ROWS <= 1024 and LANES * ROWS >= 64",
    "CLUSTER == 1 or LANES >= 128 and ROWS == 1 and n >= 4096 * CLUSTER",
    "CHUNKS * VEC * (1 + EARLY) <= min(96, 65536 / (LANES * ROWS) - 24)",
]

[tunables]
VEC = [8, 4]
LANES = { powers = [4, 1024], default = 64 }
ROWS = { powers = [1, 32], default = 1 }
CHUNKS = { powers = [1, 4] }
CLUSTER = { powers = [1, 16] }
EARLY = false
CACHE = ["normal", "streaming"]

[[launch]]
entry = "rms_norm_rows"
grid = ["ceil_div(m, ROWS) * CLUSTER"]
block = ["LANES", "ROWS"]
cluster = ["CLUSTER"]
params = ["x", "w", "b", "y", "rstd", "eps", "offset", { u32 = "m" }, { u32 = "n" }]
*/
#define WEIGHT 1
#define BIAS 1
#define RESIDUAL 0
#define RSTD 1
#include "forward_rows.cuh"
