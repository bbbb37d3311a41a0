/*kernel_factory
# Rows of any length, any stride apart: each is read twice by a block.
spec = "rms_norm_strided"
fallback = "only"
alignment = 4
types = { T = "x", W = "w" }

[tunables]
THREADS = { powers = [64, 1024], default = 256 }

[[launch]]
entry = "rms_norm_any"
grid = ["m"]
block = ["THREADS"]
params = ["x", "w", "y", "eps", "offset", { u32 = "xs" }, { u32 = "ys" }, { u32 = "n" }]
*/
#define WEIGHT 1
#define BIAS 0
#define RESIDUAL 0
#define RSTD 0
#define STRIDED 1
#define VEC 1
#include "forward_any.cuh"
