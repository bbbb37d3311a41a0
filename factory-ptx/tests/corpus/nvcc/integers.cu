// Integer arithmetic of every width: division, shifts, funnel shifts, high products, bit fields, packed bytes.
extern "C" __global__ void wide(const long long *a, const unsigned long long *b, long long *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long x = a[i];
    unsigned long long y = b[i] | 1;
    out[i * 8 + 0] = x / (long long)y;
    out[i * 8 + 1] = (long long)((unsigned long long)x % y);
    out[i * 8 + 2] = __mul64hi(x, (long long)y);
    out[i * 8 + 3] = (long long)__umul64hi((unsigned long long)x, y);
    out[i * 8 + 4] = (x << (y & 63)) ^ (x >> (y & 31));
    out[i * 8 + 5] = __popcll(y) + __clzll(x) + __ffsll(x);
    out[i * 8 + 6] = (long long)__brevll(y) + (int)x * (long long)(int)y;
    out[i * 8 + 7] = llabs(x) + max(x, (long long)y) - min((unsigned long long)x, y);
}

extern "C" __global__ void narrow(const short *a, const unsigned char *b, int *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    short x = a[i];
    signed char y = (signed char)b[i];
    out[i * 6 + 0] = (short)(x * y) + (signed char)(x >> 3);
    out[i * 6 + 1] = __byte_perm(x, y, 0x5410) + __sad(x, y, 3u);
    out[i * 6 + 2] = __dp4a(x, (int)y, 5) + (int)__dp4a((unsigned)x, (unsigned)y, 5u);
    out[i * 6 + 3] = __funnelshift_l(x, y, 7) + __funnelshift_rc(x, y, 40);
    out[i * 6 + 4] = __mulhi(x * 65536, y * 65536) + __umulhi(x, y) + __mul24(x, y) + __hadd(x, y) + __rhadd(x, y);
    out[i * 6 + 5] = __vadd4(x, y) ^ __vmaxs2(x, y) ^ __vabsdiffu4(x, y) ^ __vcmpgtu4(x, y);
}

struct Fields { unsigned a : 5, b : 11, c : 16; };
extern "C" __global__ void fields(Fields *f, int n) {
    int i = threadIdx.x;
    if (i < n) { f[i].b = f[i].a * 3; f[i].c ^= f[i].b; }
}

extern "C" __global__ void wide128(const unsigned long long *x, unsigned long long *out) {
    unsigned __int128 a = x[threadIdx.x], b = x[threadIdx.x + 32];
    unsigned __int128 c = a * b + (a << 64) - b;
    out[threadIdx.x] = (unsigned long long)(c >> 64) + (unsigned long long)c;
}
