// Integers and their bits: dot products of bytes, permutations, funnel shifts, fields, counts, byte-wise arithmetic, hashes.
// entry: bits
// run: block=128 in x:u32=bits(128, 60) in y:u32=bits(128, 61) in z:u32=bits(128, 62) out o:u32[5120]=recorded
// entry: philox
// run: block=64 scalar seed:u64=81985529216486895 out o:u32[256]=recorded
#include "hopper.cuh"

KERNEL bits(const uint32_t *xs, const uint32_t *ys, const uint32_t *zs, uint32_t *out) {
    unsigned t = threadIdx.x;
    uint32_t x = xs[t], y = ys[t], z = zs[t], *o = out + t * 40, r;
    o[0] = __dp4a(x, y, z);
    o[1] = __dp4a((int)x, (int)y, (int)z);
    o[2] = __dp2a_lo(x, y, z);
    o[3] = __dp2a_hi((int)x, (int)y, (int)z);
    o[4] = __byte_perm(x, y, z);
    o[5] = __funnelshift_l(x, y, z);
    o[6] = __funnelshift_rc(x, y, z & 63);
    o[7] = __brev(x) ^ __popc(y);
    o[8] = __clz(x >> (y & 31)) << 8 | __ffs(z);
    o[9] = __clzll((unsigned long long)x << 32 >> (y & 63)) << 16 | __popcll((unsigned long long)x << 32 | y);
    o[10] = __fns(x, y & 31, (int)(z & 7) - 3);
    o[11] = __vadd4(x, y);
    o[12] = __vabsdiffs4(x, y);
    o[13] = __vmaxu2(x, y) ^ __vmins2(y, z);
    o[14] = __vsadu4(x, y) + __vcmpgtu4(x, y);
    o[15] = __vaddss2(x, y) ^ __vsubus4(x, z);
    o[16] = __vavgu4(x, y) ^ __vavgs2(x, y);
    o[17] = __sad((int)x, (int)y, z) ^ __usad(x, y, z);
    o[18] = __umulhi(x, y) ^ __mulhi((int)x, (int)z);
    o[19] = __umul24(x, y) ^ __mul24((int)x, (int)y);
    o[20] = __hadd((int)x, (int)y) ^ __urhadd(x, y);
    asm("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y & 255), "r"(z & 255)); o[21] = r;
    asm("bfe.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y & 31), "r"(z & 31)); o[22] = r;
    asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(x), "r"(y), "r"(z & 63), "r"(z >> 6 & 63)); o[23] = r;
    asm("bfind.u32 %0, %1;" : "=r"(r) : "r"(x >> (y & 31))); o[24] = r;
    asm("bfind.shiftamt.s32 %0, %1;" : "=r"(r) : "r"((int)x >> (y & 31))); o[25] = r;
    asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(r) : "r"(x), "r"(y), "r"(z)); o[26] = r;
    asm("lop3.b32 %0, %1, %2, %3, 0xd2;" : "=r"(r) : "r"(x), "r"(y), "r"(z)); o[27] = r;
    asm("prmt.b32.f4e %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z)); o[28] = r;
    asm("prmt.b32.ecr %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z)); o[29] = r;
    asm("bmsk.clamp.b32 %0, %1, %2;" : "=r"(r) : "r"(y & 63), "r"(z & 63)); o[30] = r;
    asm("szext.wrap.s32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y)); o[31] = r;
    o[32] = x / (y | 1) ^ x % (z | 1);
    o[33] = (int)x / ((int)y | 1) + (int)x % ((int)z | 3);
    o[34] = min((int)x, (int)y) ^ max(x, z);
    o[35] = abs((int)x) + ((int)y >> (z & 31)) + (x << (y & 31));
    asm("sub.sat.s32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y)); o[36] = r;
    asm("mad.hi.sat.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z)); o[37] = r;
    asm("shf.l.wrap.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z)); o[38] = r;
    asm("vadd.u32.u32.s32.sat %0, %1.b1, %2.h1;" : "=r"(r) : "r"(x), "r"(y)); o[39] = r;
}

// Ten rounds of Philox 4x32, from its definition.
KERNEL philox(uint64_t seed, uint4 *o) {
    uint32_t a = threadIdx.x, b = 0, c = 7, d = 0, k = (uint32_t)seed, l = (uint32_t)(seed >> 32);
#pragma unroll
    for (int i = 0; i < 10; i++) {
        uint64_t p = (uint64_t)a * 0xD2511F53u, q = (uint64_t)c * 0xCD9E8D57u;
        uint32_t e = (uint32_t)(q >> 32) ^ b ^ k, f = (uint32_t)(p >> 32) ^ d ^ l;
        a = e, b = (uint32_t)q, c = f, d = (uint32_t)p;
        k += 0x9E3779B9u, l += 0xBB67AE85u;
    }
    o[threadIdx.x] = make_uint4(a, b, c, d);
}
