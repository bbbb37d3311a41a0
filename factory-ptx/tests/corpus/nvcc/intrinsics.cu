// Intrinsics of every kind: packed integers, conversions, halves, maths, warps, 8-, 6- and 4-bit floats, atomics.

#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_fp6.h>
#include <cuda_fp4.h>
#include <cooperative_groups.h>
#include <cuda/barrier>
#include <stdint.h>
#define K(name, ...) extern "C" __global__ void name(const unsigned* in, unsigned* out, const float* f, \
    const double* d, const __half2* h, const __nv_bfloat162* b){ int t=threadIdx.x; unsigned x=in[t], \
    y=in[t+32], z=in[t+64]; float p=f[t], q=f[t+1], r=f[t+2]; double u=d[t], v=d[t+1], w=d[t+2]; __half2 \
    hx=h[t], hy=h[t+1], hz=h[t+2]; __nv_bfloat162 bx=b[t], by=b[t+1], bz=b[t+2]; unsigned acc=0; \
    (void)x;(void)y;(void)z;(void)p;(void)q;(void)r;(void)u;(void)v;(void)w;(void)hx;(void)hy;(void)hz;(void)bx;(void)by;(void)bz; \
    __VA_ARGS__; out[t]=acc; }
#define A(e) acc = acc*31u + (unsigned)(e);
#define F(e) acc = acc*31u + __float_as_uint((float)(e));
#define D(e) { double _x=(e); acc = acc*31u + (unsigned)__double2loint(_x) + (unsigned)__double2hiint(_x); }
#define H(e) { __half2 _x=(e); acc = acc*31u + *(unsigned*)&_x; }
#define H1(e) { __half _x=(e); acc = acc*31u + *(unsigned short*)&_x; }
#define B(e) { __nv_bfloat162 _x=(e); acc = acc*31u + *(unsigned*)&_x; }
#define B1(e) { __nv_bfloat16 _x=(e); acc = acc*31u + *(unsigned short*)&_x; }
K(simd, A(__vadd4(x,y)) A(__vadd2(x,y)) A(__vsub4(x,y)) A(__vsub2(x,y)) A(__vabs2(x)) A(__vabs4(x))
    A(__vabsdiffs2(x,y)) A(__vabsdiffs4(x,y)) A(__vabsdiffu2(x,y)) A(__vabsdiffu4(x,y)) A(__vabsss2(x))
    A(__vabsss4(x)) A(__vaddss2(x,y)) A(__vaddss4(x,y)) A(__vaddus2(x,y)) A(__vaddus4(x,y))
    A(__vavgs2(x,y)) A(__vavgs4(x,y)) A(__vavgu2(x,y)) A(__vavgu4(x,y)) A(__vcmpeq2(x,y))
    A(__vcmpeq4(x,y)) A(__vcmpges2(x,y)) A(__vcmpges4(x,y)) A(__vcmpgeu2(x,y)) A(__vcmpgeu4(x,y))
    A(__vcmpgts2(x,y)) A(__vcmpltu4(x,y)) A(__vhaddu2(x,y)) A(__vhaddu4(x,y)) A(__vmaxs2(x,y))
    A(__vmaxs4(x,y)) A(__vmaxu2(x,y)) A(__vmaxu4(x,y)) A(__vmins2(x,y)) A(__vmins4(x,y))
    A(__vminu2(x,y)) A(__vminu4(x,y)) A(__vneg2(x)) A(__vneg4(x)) A(__vnegss2(x)) A(__vnegss4(x))
    A(__vsads2(x,y)) A(__vsads4(x,y)) A(__vsadu2(x,y)) A(__vsadu4(x,y)) A(__vseteq2(x,y))
    A(__vseteq4(x,y)) A(__vsetles2(x,y)) A(__vsetgtu4(x,y)) A(__vsubss2(x,y)) A(__vsubss4(x,y))
    A(__vsubus2(x,y)) A(__vsubus4(x,y)) A(__viaddmax_s32(x,y,z)) A(__viaddmax_s32_relu(x,y,z))
    A(__viaddmax_s16x2(x,y,z)) A(__viaddmax_s16x2_relu(x,y,z)) A(__viaddmin_u16x2(x,y,z))
    A(__vimax3_s32(x,y,z)) A(__vimax3_s16x2(x,y,z)) A(__vimax3_s32_relu(x,y,z)) A(__vimin3_u16x2(x,y,z))
    A(__vimin3_s16x2_relu(x,y,z)) A(__vimax_s32_relu(x,y)) A(__vimin_s16x2_relu(x,y)) bool pp, qq;
    A(__vibmax_s32(x,y,&pp)) A(pp) A(__vibmin_u32(x,y,&pp)) A(__vibmax_s16x2(x,y,&pp,&qq)) A(pp) A(qq)
    A(__vibmin_u16x2(x,y,&pp,&qq)))
K(ints, A(__byte_perm(x,y,z)) A(__funnelshift_l(x,y,z)) A(__funnelshift_lc(x,y,z))
    A(__funnelshift_r(x,y,z)) A(__funnelshift_rc(x,y,z)) A(__brev(x)) A(__clz(x)) A(__ffs(x))
    A(__popc(x)) A(__mul24(x,y)) A(__umul24(x,y)) A(__mulhi(x,y)) A(__umulhi(x,y)) A(__hadd(x,y))
    A(__rhadd(x,y)) A(__uhadd(x,y)) A(__urhadd(x,y)) A(__sad(x,y,z)) A(__usad(x,y,z))
    A(__dp4a((int)x,(int)y,(int)z)) A(__dp4a(x,y,z)) A(__dp2a_lo((int)x,(int)y,(int)z))
    A(__dp2a_hi(x,y,z)) A(__fns(x,y,z)) A(__clzll(((long long)x<<32)|y)) A(__popcll(((long
    long)x<<32)|y)) A(__ffsll(((long long)x<<32)|y)) A(__brevll(((unsigned long long)x<<32)|y))
    A(__mul64hi(((long long)x<<32)|y, z)) A(__umul64hi(((unsigned long long)x<<32)|y, z)) A(x/y) A(x%y)
    A((int)x/(int)y) A((int)x%(int)y) A((((unsigned long long)x<<32)|y)/z) A((long long)(((unsigned long
    long)x<<32)|y)%(int)z) A((unsigned short)x/(unsigned short)y) { unsigned __int128 m=((unsigned
    __int128)x<<96)|y; m*=z; m+=x; A((unsigned)(m>>70)) A((unsigned)(m/ (y|1))) })
K(convs, A(__float2int_rd(p)) A(__float2int_rn(p)) A(__float2int_ru(p)) A(__float2int_rz(p))
    A(__float2uint_rd(p)) A(__float2ll_rn(p)) A(__float2ull_ru(p)) F(__int2float_rd(x))
    F(__uint2float_ru(x)) F(__ll2float_rz(((long long)x<<32)|y)) F(__ull2float_rn(x))
    A(__double2int_rd(u)) A(__double2uint_ru(u)) A(__double2ll_rn(u)) F(__double2float_rd(u))
    F(__double2float_ru(u)) D(__int2double_rn(x)) D(__ll2double_rd(x)) D(__ull2double_ru(x))
    D(__hiloint2double(x,y)) A(__float2half_rd(p)) A(__half2uint_rz(hx.x)) A(__half2short_rn(hx.x))
    A(__half2ll_ru(hx.x)) H1(__uint2half_rn(x)) H1(__short2half_rd(x)) H1(__ll2half_rz(x))
    H1(__double2half(u)) B1(__double2bfloat16(u)) B1(__float2bfloat16_rz(p)) B1(__uint2bfloat16_ru(x))
    A(__bfloat162int_rd(bx.x)) A(__bfloat162ull_rz(bx.x)) B(__floats2bfloat162_rn(p,q))
    H(__floats2half2_rn(p,q)) A(__half2char_rz(hx.x)) A(__half2uchar_rz(hx.x))
    A(__bfloat162uchar_rz(bx.x)) A((unsigned char)(int)p) A((signed char)u) A((short)p) A((unsigned long
    long)p) A((unsigned)u) F(roundf(p)) F(rintf(p)) F(truncf(p)) F(ceilf(p)) F(floorf(p)) D(round(u))
    D(rint(u)) A(lrintf(p)) A(llround(u)) A(lroundf(p)))
K(halfs, H(__hadd2(hx,hy)) H(__hadd2_rn(hx,hy)) H(__hadd2_sat(hx,hy)) H(__hsub2(hx,hy))
    H(__hsub2_sat(hx,hy)) H(__hmul2(hx,hy)) H(__hmul2_sat(hx,hy)) H(__hfma2(hx,hy,hz))
    H(__hfma2_sat(hx,hy,hz)) H(__hfma2_relu(hx,hy,hz)) H(__hneg2(hx)) H(__habs2(hx)) H(__h2div(hx,hy))
    H(__hmax2(hx,hy)) H(__hmax2_nan(hx,hy)) H(__hmin2(hx,hy)) H(__hmin2_nan(hx,hy)) H(__heq2(hx,hy))
    H(__hne2(hx,hy)) H(__hle2(hx,hy)) H(__hgtu2(hx,hy)) A(__heq2_mask(hx,hy)) A(__hltu2_mask(hx,hy))
    A(__hbeq2(hx,hy)) A(__hbgtu2(hx,hy)) H(__hisnan2(hx)) A(__hlt(hx.x,hy.x)) A(__hequ(hx.x,hy.x))
    A(__hisnan(hx.x)) A(__hisinf(hx.x)) H1(__hmax(hx.x,hy.x)) H1(__hmin_nan(hx.x,hy.x))
    H1(__hdiv(hx.x,hy.x)) H1(hexp(hx.x)) H1(hexp2(hx.x)) H1(hexp10(hx.x)) H1(hlog(hx.x)) H1(hlog2(hx.x))
    H1(hlog10(hx.x)) H1(hsin(hx.x)) H1(hcos(hx.x)) H1(hsqrt(hx.x)) H1(hrsqrt(hx.x)) H1(hrcp(hx.x))
    H1(hrint(hx.x)) H1(hfloor(hx.x)) H1(hceil(hx.x)) H1(htrunc(hx.x)) H1(htanh(hx.x))
    H1(htanh_approx(hx.x)) H(h2exp(hx)) H(h2exp2(hx)) H(h2log(hx)) H(h2sin(hx)) H(h2sqrt(hx))
    H(h2tanh_approx(hx)) H(__lowhigh2highlow(hx)) H(__lows2half2(hx,hy)) F(__low2float(hx))
    F(__high2float(hx)) H(__hcmadd(hx,hy,hz)) H1(__hfma_relu(hx.x,hy.x,hz.x)) H1(__hmul_rn(hx.x,hy.x)))
K(brains, B(__hadd2(bx,by)) B(__hsub2(bx,by)) B(__hmul2(bx,by)) B(__hfma2(bx,by,bz))
    B(__hfma2_relu(bx,by,bz)) B(__hfma2_sat(bx,by,bz)) B(__hadd2_sat(bx,by)) B(__hneg2(bx))
    B(__habs2(bx)) B(__h2div(bx,by)) B(__hmax2(bx,by)) B(__hmax2_nan(bx,by)) B(__heq2(bx,by))
    B(__hgtu2(bx,by)) A(__hle2_mask(bx,by)) A(__hbne2(bx,by)) B1(hexp(bx.x)) B1(hexp2(bx.x))
    B1(hlog(bx.x)) B1(hlog10(bx.x)) B1(hsin(bx.x)) B1(hcos(bx.x)) B1(hsqrt(bx.x)) B1(hrsqrt(bx.x))
    B1(hrcp(bx.x)) B1(hrint(bx.x)) B1(hfloor(bx.x)) B1(htanh(bx.x)) B1(htanh_approx(bx.x)) B(h2exp(bx))
    B(h2log2(bx)) B(h2tanh_approx(bx)) F(__low2float(bx)) B1(__hdiv(bx.x,by.x)) A(__hisnan(bx.x))
    A(__hlt(bx.x,by.x)) B1(__hmin(bx.x,by.x)))
K(maths, F(__expf(p)) F(__exp10f(p)) F(__logf(p)) F(__log2f(p)) F(__log10f(p)) F(__sinf(p)) F(__cosf(p))
    F(__tanf(p)) F(__powf(p,q)) F(__fdividef(p,q)) F(__saturatef(p)) F(__frsqrt_rn(p)) F(__frcp_rd(p))
    F(__fsqrt_ru(p)) F(__fdiv_rz(p,q)) F(__fadd_rd(p,q)) F(__fmul_ru(p,q)) F(__fmaf_rz(p,q,r))
    F(__fsub_rn(p,q)) F(__tanhf(p)) F(rsqrtf(p)) F(sqrtf(p)) F(p/q) F(expf(p)) F(exp2f(p)) F(expm1f(p))
    F(logf(p)) F(log1pf(p)) F(sinf(p)) F(cosf(p)) F(tanf(p)) F(tanhf(p)) F(powf(p,q)) F(fmodf(p,q))
    F(remainderf(p,q)) F(fminf(p,q)) F(fmaxf(p,q)) F(copysignf(p,q)) F(nextafterf(p,q)) F(ldexpf(p,x))
    F(erff(p)) F(erfcf(p)) F(erfinvf(p)) F(normcdff(p)) F(lgammaf(p)) F(tgammaf(p)) F(j0f(p))
    F(atan2f(p,q)) F(asinf(p)) F(acoshf(p)) F(sinpif(p)) F(cbrtf(p)) F(hypotf(p,q)) F(rhypotf(p,q))
    F(fdimf(p,q)) F(logbf(p)) A(ilogbf(p)) A(isnan(p)) A(isinf(p)) A(signbit(p)) A(isfinite(p))
    D(__dadd_rd(u,v)) D(__dmul_ru(u,v)) D(__fma_rz(u,v,w)) D(__ddiv_rd(u,v)) D(__drcp_ru(u))
    D(__dsqrt_rz(u)) D(exp(u)) D(log(u)) D(sin(u)) D(cos(u)) D(pow(u,v)) D(sqrt(u)) D(rsqrt(u)) D(u/v)
    D(fmod(u,v)) D(tanh(u)) D(erf(u)) D(tgamma(u)) D(cbrt(u)) D(atan2(u,v)) D(fmin(u,v)) D(fmax(u,v))
    D(floor(u)) D(nearbyint(u)) A(isnan(u)))
K(warps, A(__shfl_sync(-1,x,y)) A(__shfl_up_sync(-1,x,1,8)) A(__shfl_down_sync(-1,p,2))
    A(__shfl_xor_sync(-1,(unsigned long long)x,3)) D(__shfl_xor_sync(-1,u,16)) A(__all_sync(-1,x))
    A(__any_sync(-1,x)) A(__ballot_sync(-1,x)) A(__activemask()) A(__match_any_sync(-1,x)) int pr;
    A(__match_all_sync(-1,x,&pr)) A(pr) A(__match_any_sync(-1,(unsigned long long)x))
    A(__reduce_add_sync(-1,x)) A(__reduce_min_sync(-1,(int)x)) A(__reduce_max_sync(-1,x))
    A(__reduce_and_sync(-1,x)) A(__reduce_or_sync(-1,x)) A(__reduce_xor_sync(-1,x)) __syncwarp();
    A(__syncthreads_count(x)) A(__syncthreads_and(x)) A(__syncthreads_or(x)) H(__shfl_xor_sync(-1,hx,1))
    __nanosleep(10); A(clock()) A(clock64()) A(__isShared(out)) A(__isGlobal(out)) A(__isLocal(out))
    A(__isConstant(out)) __threadfence(); __threadfence_block(); __threadfence_system();)
K(fp8s, A(__nv_cvt_float_to_fp8(p,__NV_SATFINITE,__NV_E4M3))
    A(__nv_cvt_float_to_fp8(p,__NV_NOSAT,__NV_E5M2))
    A(__nv_cvt_float2_to_fp8x2(make_float2(p,q),__NV_SATFINITE,__NV_E5M2))
    A(__nv_cvt_double_to_fp8(u,__NV_SATFINITE,__NV_E4M3))
    A(__nv_cvt_halfraw2_to_fp8x2(hx,__NV_SATFINITE,__NV_E4M3))
    A(__nv_cvt_bfloat16raw_to_fp8(bx.x,__NV_SATFINITE,__NV_E4M3))
    A(__nv_cvt_bfloat16raw2_to_fp8x2(bx,__NV_NOSAT,__NV_E5M2)) { __half2_raw
    g=__nv_cvt_fp8x2_to_halfraw2(x,__NV_E4M3); A(g.x) A(g.y) } { __half_raw
    g=__nv_cvt_fp8_to_halfraw(x,__NV_E5M2); A(g.x) } __nv_fp8_e4m3 e(p); F(float(e)) __nv_fp8x4_e5m2
    e4(make_float4(p,q,r,p)); float4 g4=float4(e4); F(g4.x) F(g4.w)
    A(__nv_cvt_float_to_e8m0(p,__NV_SATFINITE,cudaRoundZero))
    A(__nv_cvt_float_to_fp6(p,__NV_E2M3,cudaRoundNearest))
    A(__nv_cvt_float2_to_fp4x2(make_float2(p,q),__NV_E2M1,cudaRoundNearest)) { __half2_raw
    g=__nv_cvt_fp4x2_to_halfraw2(x,__NV_E2M1); A(g.x) } { __half2_raw
    g=__nv_cvt_fp6x2_to_halfraw2(x,__NV_E3M2); A(g.y) })
extern "C" __global__ void atoms(unsigned* o, int* i, unsigned long long* l, long long* ll, float* f,
    double* d, __half* h, __half2* h2, __nv_bfloat16* b, __nv_bfloat162* b2, float2* f2, float4* f4,
    unsigned short* us){ int t=threadIdx.x; atomicAdd(o,t); atomicAdd(i,t); atomicAdd(l,t);
    atomicAdd(f,1.f); atomicAdd(d,1.0); atomicAdd(h,__float2half(1.f)); atomicAdd(h2,h2[1]);
    atomicAdd(b,b[1]); atomicAdd(b2,b2[1]); f2[1]=atomicAdd(f2,make_float2(1,2));
    f4[1]=atomicAdd(f4,make_float4(1,2,3,4)); atomicAdd(f4+2,make_float4(1,2,3,4)); atomicSub(o,1);
    o[1]=atomicExch(o,3); l[1]=atomicExch(l,3); f[1]=atomicExch(f,2.f); atomicMin(i,t); atomicMax(o,t);
    atomicMin(ll,t); atomicMax(l,t); o[2]=atomicInc(o,7); o[3]=atomicDec(o,9); o[4]=atomicCAS(o,1,2);
    l[2]=atomicCAS(l,1,2); us[1]=atomicCAS(us,1,2); atomicAnd(o,3); atomicOr(l,3); atomicXor(o,5);
    atomicAdd_block(o,1); atomicAdd_system(o,1); atomicCAS_system(l,1,2); }
namespace cg = cooperative_groups;
extern "C" __global__ void coops(int* o){ auto blk=cg::this_thread_block(); auto
    w=cg::tiled_partition<16>(blk); o[0]=w.shfl_xor(o[1],1)+w.ballot(o[2])+w.match_any(o[3]); auto
    c=cg::coalesced_threads(); if(c.thread_rank()==0) o[4]=c.size(); auto cl=cg::this_cluster();
    __shared__ int s; s=o[5]; cl.sync(); o[6]=*cl.map_shared_rank(&s,0)+cl.block_rank()+cl.num_blocks();
    cl.sync(); cg::invoke_one(w,[&]{o[9]=1;}); }
extern "C" __global__ void loads(const uint4* __restrict__ a, uint4* b, const char4* c, const short2* s,
    const double2* dd){ int t=threadIdx.x; uint4 x=__ldg(a+t); uint4 y=__ldcg(a+t+1); uint4
    z=__ldcs(a+t+2); uint4 w=__ldlu(a+t+3); uint4 v=__ldcv(a+t+4); uint4 u=__ldca(a+t+5); __stcg(b+t,x);
    __stcs(b+t+1,y); __stwt(b+t+2,z); __stwb(b+t+3,w); b[t+4]=v; b[t+5]=u; char4 cc=__ldg(c+t); short2
    ss=__ldg(s+t); double2 d2=__ldg(dd+t); b[t+6]=make_uint4(cc.x+ss.x,cc.y+ss.y,cc.z,(int)d2.x);
    volatile uint4* q=(volatile uint4*)b; q[9].x=q[10].y; }
