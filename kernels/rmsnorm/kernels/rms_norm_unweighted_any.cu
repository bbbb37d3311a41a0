/*kernel_factory
# Rows of any length at any address: each is read twice by a block.
spec = "rms_norm_unweighted"
fallback = "only"
alignment = 4
types = { T = "x" }

[tunables]
THREADS = { powers = [64, 1024], default = 256 }

[[launch]]
entry = "rms_norm_any"
grid = ["m"]
block = ["THREADS"]
params = ["x", "y", "rstd", "eps", { u32 = "n" }]
*/
#define WEIGHT 0
#define BIAS 0
#define RESIDUAL 0
#define RSTD 1
#define VEC 1
#include "forward_any.cuh"
