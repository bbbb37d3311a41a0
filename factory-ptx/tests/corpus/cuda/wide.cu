// Integers of 64 and 128 bits: products, quotients, shifts, carry chains, and a modular power.
// entry: wide
// run: block=128 in x:u64=bits(128, 70) in y:u64=bits(128, 71) out o:u64[2560]=recorded
// entry: carries
// run: block=64 in x:u32=bits(512, 72) in y:u32=bits(512, 73) out o:u32[1024]=recorded
// entry: powers
// run: block=64 in x:u64=bits(64, 74) out o:u64[64]=recorded
#include "hopper.cuh"

KERNEL wide(const uint64_t *xs, const uint64_t *ys, uint64_t *out) {
    unsigned t = threadIdx.x;
    uint64_t x = xs[t], y = ys[t], *o = out + t * 20;
    unsigned __int128 p = (unsigned __int128)x * y, q = p + ((unsigned __int128)y << 64 | x);
    __int128 s = (__int128)(int64_t)x * (int64_t)y;
    o[0] = (uint64_t)p, o[1] = (uint64_t)(p >> 64);
    o[2] = (uint64_t)q, o[3] = (uint64_t)(q >> 64);
    o[4] = (uint64_t)(s >> 37), o[5] = (uint64_t)(s >> (y & 127));
    o[6] = x / (y >> 20 | 1), o[7] = x % (y >> 40 | 1);
    o[8] = (uint64_t)((int64_t)x / ((int64_t)y >> 33 | 1)), o[9] = (uint64_t)((int64_t)x % (int64_t)(y | 1));
    o[10] = __umul64hi(x, y) ^ __mul64hi((int64_t)x, (int64_t)y);
    o[11] = (uint64_t)(uint32_t)x * (uint32_t)y + (x >> 9);
    o[12] = (uint64_t)((int64_t)(int32_t)x * (int32_t)y - (int64_t)y);
    o[13] = __brevll(x) ^ (x << (y & 63)) ^ (uint64_t)((int64_t)x >> (y >> 8 & 63));
    o[14] = __popcll(x) + __clzll(y >> 11) * 100 + __ffsll(x << 7) * 10000;
    o[15] = min((int64_t)x, (int64_t)y) ^ max(x, y);
    o[16] = q < p ? 1 : s < 0 ? 2 : 3;
    o[17] = (uint64_t)((double)x * 0.5) ^ (uint64_t)(int64_t)((float)(int64_t)y);
    o[18] = (uint64_t)__double2ll_rd((double)(int64_t)x / 1000.0) + __float2ull_rz((float)y);
    uint64_t r;
    asm("{\n.reg .b64 a;\nbfe.u64 a, %1, 13, 29;\nbfi.b64 %0, a, %2, 40, 9;\n}" : "=l"(r) : "l"(x), "l"(y));
    o[19] = r;
}

// Sums and products of 256 bits, in words of 32 with add.cc, addc, mad.lo.cc, madc.hi.
KERNEL carries(const uint32_t *xs, const uint32_t *ys, uint32_t *out) {
    const uint32_t *x = xs + threadIdx.x * 8, *y = ys + threadIdx.x * 8;
    uint32_t *o = out + threadIdx.x * 16, s[8], d[8];
    asm("add.cc.u32 %0, %8, %16;\naddc.cc.u32 %1, %9, %17;\naddc.cc.u32 %2, %10, %18;\naddc.cc.u32 %3, %11, %19;\n"
        "addc.cc.u32 %4, %12, %20;\naddc.cc.u32 %5, %13, %21;\naddc.cc.u32 %6, %14, %22;\naddc.u32 %7, %15, %23;"
        : "=r"(s[0]), "=r"(s[1]), "=r"(s[2]), "=r"(s[3]), "=r"(s[4]), "=r"(s[5]), "=r"(s[6]), "=r"(s[7])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(x[4]), "r"(x[5]), "r"(x[6]), "r"(x[7]), "r"(y[0]), "r"(y[1]), "r"(y[2]), "r"(y[3]), "r"(y[4]), "r"(y[5]),
          "r"(y[6]), "r"(y[7]));
    // Four words times one, and a difference with borrows.
    asm("mul.lo.u32 %0, %5, %9;\nmul.hi.u32 %1, %5, %9;\nmad.lo.cc.u32 %1, %6, %9, %1;\nmadc.hi.u32 %2, %6, %9, 0;\nmad.lo.cc.u32 %2, %7, %9, %2;\nmadc.hi.u32 %3, %7, %9, 0;\n"
        "mad.lo.cc.u32 %3, %8, %9, %3;\nmadc.hi.cc.u32 %4, %8, %9, 0;"
        : "=&r"(d[0]), "=&r"(d[1]), "=&r"(d[2]), "=&r"(d[3]), "=&r"(d[4])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]));
    asm("sub.cc.u32 %0, %3, %6;\nsubc.cc.u32 %1, %4, %7;\nsubc.u32 %2, %5, %8;" : "=r"(d[5]), "=r"(d[6]), "=r"(d[7]) : "r"(x[4]), "r"(x[5]), "r"(x[6]), "r"(y[4]), "r"(y[5]), "r"(y[6]));
    for (int i = 0; i < 8; i++) o[i] = s[i], o[i + 8] = d[i];
}

DEVICE uint64_t times(uint64_t a, uint64_t b) {
    // Modulo 2^61 - 1.
    unsigned __int128 p = (unsigned __int128)a * b;
    uint64_t r = (uint64_t)(p & ((1ull << 61) - 1)) + (uint64_t)(p >> 61);
    return r >= (1ull << 61) - 1 ? r - ((1ull << 61) - 1) : r;
}

KERNEL powers(const uint64_t *x, uint64_t *o) {
    uint64_t base = x[threadIdx.x] >> 3, power = 1;
    for (uint64_t e = 0x123456789abcdefull >> (threadIdx.x & 15); e; e >>= 1) {
        if (e & 1) power = times(power, base);
        base = times(base, base);
    }
    o[threadIdx.x] = power;
}
