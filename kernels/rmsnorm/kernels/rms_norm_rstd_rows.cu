/*kernel_factory
# A row in the registers of some lanes, several warps or the blocks of a cluster; x is read from memory once. No thread comes twice.
spec = "rms_norm_rstd"
alignment = "min(16, 4 * VEC)"
types = { T = "x", W = "w" }
constraints = [
    "n % VEC == 0",
    "n <= LANES * VEC * CHUNKS * CLUSTER",
    # Threads without elements: rows far shorter than this are for others. Counts of threads that are no power of two are for
    # the lengths that they fit.
    "LANES * VEC * CHUNKS * CLUSTER <= max(6 * n, 512)",
    "LANES % 3 * (LANES % 5) * (LANES % 7) > 0 or 8 * LANES * VEC * CHUNKS * CLUSTER <= 9 * n",
    "VEC * T_BYTES <= 16",
    "LANES * ROWS <= 1024 and LANES * ROWS % 32 == 0",
    "CLUSTER == 1 or LANES >= 128 and ROWS == 1 and LANES * VEC * CHUNKS >= 2048",
    # Those that read twice: rows that are long enough for it to matter. Only they have more than fits into registers.
    "REREAD == 0 or LANES * VEC * CHUNKS >= 1024 and EARLY == 0",
    "REREAD or CHUNKS <= 8",
    # What a thread has at once, and its registers.
    "DEEP * min(CHUNKS, 8) * VEC <= 64",
    "DEEP * min(CHUNKS, 8) * VEC * T_BYTES / 4 + EARLY * CHUNKS * VEC * W_BYTES / 4 <= min(96, 65536 / (LANES * ROWS) - 24)",
]

[tunables]
VEC = [8, 4]
LANES = [256, 128, 512, 64, 1024, 32, 16, 8, 4, 192, 384, 768, 320, 640, 448, 896]
ROWS = { powers = [1, 64], default = 1 }
CHUNKS = { powers = [1, 32] }
CLUSTER = { powers = [1, 16] }
DEEP = { powers = [1, 8] }
EARLY = false
CACHE = ["normal", "streaming"]
REREAD = false

[[launch]]
entry = "rms_norm_rows"
grid = ["ceil_div(m, ROWS * DEEP) * CLUSTER"]
block = ["LANES", "ROWS"]
cluster = ["CLUSTER"]
params = ["x", "w", "y", "rstd", "eps", "offset", { u32 = "m" }, { u32 = "n" }]
*/
#define WEIGHT 1
#define BIAS 0
#define RESIDUAL 0
#define RSTD 1
#include "forward_rows.cuh"
