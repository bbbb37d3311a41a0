#!/usr/bin/env python3
"""Writes probe.cu, the program that records what a GPU's matrix instructions answer, and probe_forms.txt, its list.

    python3 probe.py && nvcc -gencode=arch=compute_90a,code=sm_90a -O1 -o probe probe.cu
    DIGEST=1 ./probe run h200.bin log.txt

Each form becomes a kernel of its own around one instruction. The inputs are those of tests/machine/tensor/inputs.rs.
"""

forms = []  # (name, kernel text, segs, in_words, out_words, cases)


def regs(ty, n):
    return n


T = dict(F16=0, BF16=1, TF32=2, F32=3, F64=4, E4M3=5, E5M2=6, RAW=7, S32=8)
kern = []
table = []


def add(name, body, segs, out, cases, threads, smem=0):
    inw = sum(s[2] for s in segs)
    idx = len(table)
    kern.append(f"__global__ void k{idx}(const uint32_t*in,uint32_t*out){{\n{body}\n}}\n")
    table.append((name, idx, segs, inw, out, cases, threads, smem))


REPF = 26 * 9


def mma(name, text, a, b, c, d, cases=REPF):
    # a,b,c,d: (type, words, regclass) regclass r f d
    def decl(v, n):
        return n

    body = "int l=threadIdx.x; in+=(size_t)blockIdx.x*%d; out+=(size_t)blockIdx.x*%d;\n" % (
        (a[1] + b[1] + c[1]) * 32,
        d[1] * 32,
    )
    off = 0
    ops = []
    groups = []
    for nm, (t, w, rc) in (("a", a), ("b", b), ("c", c)):
        g = []
        if rc == "d":
            for i in range(w // 2):
                body += f"double {nm}{i}=__hiloint2double(in[{off+2*i+1}*32+l],in[{off+2*i}*32+l]);\n"
                ops.append(f'"d"({nm}{i})')
                g.append(nm)
        else:
            for i in range(w):
                e = f"in[{off+i}*32+l]"
                if rc == "f":
                    body += f"float {nm}{i}=__uint_as_float({e});\n"
                    ops.append(f'"f"({nm}{i})')
                else:
                    body += f"uint32_t {nm}{i}={e};\n"
                    ops.append(f'"r"({nm}{i})')
                g.append(nm)
        groups.append(len(g))
        off += w
    t, w, rc = d
    nd = w // 2 if rc == "d" else w
    outs = []
    for i in range(nd):
        ty = {"d": "double", "f": "float", "r": "uint32_t"}[rc]
        body += f"{ty} d{i};\n"
        outs.append(f'"={rc}"(d{i})')
    k = 0
    gs = []
    for n in [nd] + groups:
        gs.append("{" + ",".join(f"%{k+i}" for i in range(n)) + "}")
        k += n
    body += f'asm volatile("{text} {gs[0]},{gs[1]},{gs[2]},{gs[3]};":{",".join(outs)}:{",".join(ops)});\n'
    for i in range(nd):
        if rc == "d":
            body += f"out[{2*i}*32+l]=__double2loint(d{i}); out[{2*i+1}*32+l]=__double2hiint(d{i});\n"
        elif rc == "f":
            body += f"out[{i}*32+l]=__float_as_uint(d{i});\n"
        else:
            body += f"out[{i}*32+l]=d{i};\n"
    add(
        name,
        body,
        [(0, T[a[0]], a[1] * 32), (1, T[b[0]], b[1] * 32), (2, T[c[0]], c[1] * 32)],
        w * 32,
        cases,
        32,
    )


# f16
for al in ("row", "col"):
    for bl in ("row", "col"):
        for dt, ct in (("f16", "f16"), ("f32", "f16"), ("f32", "f32")):
            full = (al, bl) == ("row", "col")
            n = f"mma.sync.aligned.m8n8k4.{al}.{bl}.{dt}.f16.f16.{ct}"
            mma(
                n,
                n,
                ("F16", 2, "r"),
                ("F16", 2, "r"),
                (ct.upper(), 4 if ct == "f16" else 8, "r" if ct == "f16" else "f"),
                (dt.upper(), 4 if dt == "f16" else 8, "r" if dt == "f16" else "f"),
                REPF // 2 if full else 6,
            )
for k in (8, 16):
    for dt in ("f16", "f32"):
        n = f"mma.sync.aligned.m16n8k{k}.row.col.{dt}.f16.f16.{dt}"
        c = (dt.upper(), 2 if dt == "f16" else 4, "r" if dt == "f16" else "f")
        mma(n, n, ("F16", k // 4, "r"), ("F16", k // 8, "r"), c, c, REPF * 2 if k == 16 else REPF)
    n = f"mma.sync.aligned.m16n8k{k}.row.col.f32.bf16.bf16.f32"
    c = ("F32", 4, "f")
    mma(n, n, ("BF16", k // 4, "r"), ("BF16", k // 8, "r"), c, c)
for k in (4, 8):
    n = f"mma.sync.aligned.m16n8k{k}.row.col.f32.tf32.tf32.f32"
    mma(n, n, ("TF32", k // 2, "r"), ("TF32", k // 4, "r"), ("F32", 4, "f"), ("F32", 4, "f"))
for r in ("", ".rn", ".rz", ".rm", ".rp"):
    n = f"mma.sync.aligned.m8n8k4.row.col{r}.f64.f64.f64.f64"
    mma(n, n, ("F64", 2, "d"), ("F64", 2, "d"), ("F64", 4, "d"), ("F64", 4, "d"), 26 * 2)
for k in (4, 8, 16):
    for r in ("", ".rz"):
        n = f"mma.sync.aligned.m16n8k{k}.row.col{r}.f64.f64.f64.f64"
        mma(n, n, ("F64", k, "d"), ("F64", k // 2, "d"), ("F64", 8, "d"), ("F64", 8, "d"), 26 * 2)
for k in (16, 32):
    for dt in ("f16", "f32"):
        for at in ("e4m3", "e5m2"):
            for bt in ("e4m3", "e5m2"):
                n = f"mma.sync.aligned.m16n8k{k}.row.col.{dt}.{at}.{bt}.{dt}"
                c = (dt.upper(), 2 if dt == "f16" else 4, "r" if dt == "f16" else "f")
                mma(
                    n,
                    n,
                    (at.upper(), k // 8, "r"),
                    (bt.upper(), k // 16, "r"),
                    c,
                    c,
                    REPF if at == bt else 52,
                )
for m, ks, bits in ((8, (16,), 8), (16, (16, 32), 8), (8, (32,), 4), (16, (32, 64), 4)):
    for k in ks:
        for at in "us":
            for bt in "us":
                for sat in ("", ".satfinite"):
                    n = f"mma.sync.aligned.m{m}n8k{k}.row.col{sat}.s32.{at}{bits}.{bt}{bits}.s32"
                    c = ("S32", 2 if m == 8 else 4, "r")
                    mma(n, n, ("RAW", m * k * bits // 1024, "r"), ("RAW", 8 * k * bits // 1024, "r"), c, c, 8)
for m, k in ((8, 128), (16, 128), (16, 256)):
    for op in ("xor", "and"):
        n = f"mma.sync.aligned.m{m}n8k{k}.row.col.s32.b1.b1.s32.{op}.popc"
        c = ("S32", 2 if m == 8 else 4, "r")
        mma(n, n, ("RAW", m * k // 1024, "r"), ("RAW", 8 * k // 1024, "r"), c, c, 8)
# ldmatrix etc
for x in (1, 2, 4):
    for tr in ("", ".trans"):
        n = f"ldmatrix.sync.aligned.m8n8.x{x}{tr}.shared.b16"
        g = "{" + ",".join(f"%{i}" for i in range(x)) + "}"
        body = (
            "__shared__ __align__(16) uint32_t s[1024]; int l=threadIdx.x; in+=(size_t)blockIdx.x*1056; out+=(size_t)blockIdx.x*%d; for(int i=l;i<1024;i+=32)s[i]=in[32+i]; __syncwarp(); uint32_t p=(uint32_t)__cvta_generic_to_shared(s)+in[l];"
            % (x * 32)
        )
        body += "uint32_t " + ",".join(f"d{i}" for i in range(x)) + ";"
        body += (
            f'asm volatile("{n} {g},[%{x}];":'
            + ",".join(f'"=r"(d{i})' for i in range(x))
            + ':"r"(p):"memory");'
        )
        body += "".join(f"out[{i}*32+l]=d{i};" for i in range(x))
        add(n, body, [(3, 256, 32), (0, T["RAW"], 1024)], x * 32, 8, 32)
        n = f"stmatrix.sync.aligned.m8n8.x{x}{tr}.shared.b16"
        g = "{" + ",".join(f"%{i+1}" for i in range(x)) + "}"
        body = (
            "__shared__ __align__(16) uint32_t s[256]; int l=threadIdx.x; in+=(size_t)blockIdx.x*%d; out+=(size_t)blockIdx.x*256; for(int i=l;i<256;i+=32)s[i]=0; __syncwarp(); uint32_t p=(uint32_t)__cvta_generic_to_shared(s)+in[l];"
            % (32 + x * 32)
        )
        body += (
            f'asm volatile("{n} [%0],{g};"::"r"(p),'
            + ",".join(f'"r"(in[{32+32*i}+l])' for i in range(x))
            + ':"memory"); __syncwarp(); for(int i=l;i<256;i+=32)out[i]=s[i];'
        )
        add(n, body, [(7, 64, 32), (0, T["RAW"], x * 32)], 256, 8, 32)
n = "movmatrix.sync.aligned.m8n8.trans.b16"
add(
    n,
    'int l=threadIdx.x; in+=(size_t)blockIdx.x*32; out+=(size_t)blockIdx.x*32; uint32_t d; asm volatile("%s %%0,%%1;":"=r"(d):"r"(in[l])); out[l]=d;'
    % n,
    [(0, T["RAW"], 32)],
    32,
    8,
    32,
)


def wg(name, shape_n, k, dt, at, bt, rs, imm, words, hk, cases, tag, sat="", post="", clsmode=None):
    # dt: f32/f16/s32 ; image words
    n = f"wgmma.mma_async.sync.aligned.m64n{shape_n}k{k}.{dt}.{at}.{bt}{post}{sat}"
    nd = shape_n // 4 if dt == "f16" else shape_n // 2
    rc = "f" if dt == "f32" else "r"
    aw = 4 if rs else 0
    inw = 8 + aw * 128 + nd * 128 + words
    body = f"extern __shared__ __align__(1024) uint32_t s[]; int l=threadIdx.x; in+=(size_t)blockIdx.x*{inw}; out+=(size_t)blockIdx.x*{nd*128};\n"
    body += f"for(int i=l;i<{words};i+=128)s[i]=in[{8+aw*128+nd*128}+i]; for(int i=l+{words};i<16384;i+=128)s[i]=0;\n"
    body += 'asm volatile("fence.proxy.async;":::"memory"); __syncthreads(); uint64_t base=(uint64_t)__cvta_generic_to_shared(s)>>4; uint64_t da=((uint64_t)in[1]<<32|in[0])+base, db=((uint64_t)in[3]<<32|in[2])+base; int sd=in[4];\n'
    for i in range(aw):
        body += f"uint32_t a{i}=in[8+{i}*128+l];"
    for i in range(nd):
        e = f"in[8+{(aw+i)*128}+l]"
        body += f"float d{i}=__uint_as_float({e});" if rc == "f" else f"uint32_t d{i}={e};"
    dl = "{" + ",".join(f"%{i}" for i in range(nd)) + "}"
    q = nd
    if rs:
        al = "{" + ",".join(f"%{q+i}" for i in range(4)) + "}"
        ins = [f'"r"(a{i})' for i in range(4)]
        q += 4
    else:
        al = f"%{q}"
        ins = ['"l"(da)']
        q += 1
    bl = f"%{q}"
    ins.append('"l"(db)')
    q += 1
    sdn = f"%{q}"
    ins.append('"r"(sd)')
    imms = "".join("," + str(x) for x in imm)
    body += '\nasm volatile("wgmma.fence.sync.aligned;":::"memory");\n'
    body += (
        f'asm volatile("{{.reg .pred p; setp.ne.b32 p,{sdn},0; {n} {dl},{al},{bl},p{imms};}}":'
        + ",".join(f'"+{rc}"(d{i})' for i in range(nd))
        + ":"
        + ",".join(ins)
        + ':"memory");\n'
    )
    body += 'asm volatile("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;":::"memory");\n'
    body += 'asm volatile("":' + ",".join(f'"+{rc}"(d{i})' for i in range(nd)) + '::"memory");\n'
    for i in range(nd):
        body += f"out[{i}*128+l]=" + (f"__float_as_uint(d{i});" if rc == "f" else f"d{i};")
    ty = lambda t: T[t.upper()] if t.upper() in T else T["RAW"]
    segs = [(6, hk, 8)]
    if rs:
        segs.append((4 if hk == 1 else 0, ty(at), 512))
    segs.append((2 if hk in (0, 3) else 5, ty(dt), nd * 128))
    if hk == 0:
        segs += [(0, ty(at), 512)] if not rs else [(0, T["RAW"], 512)]
        segs += [(1, ty(bt), words - 512)]
    elif hk == 3:
        segs.append((0, ty(at), words))
    elif hk == 1:
        segs.append((8, T["RAW"], words))
    elif hk == 2:
        segs += [(8, T["RAW"], words - 256), (9, 0, 256)]
    add(n + tag, body, segs, nd * 128, cases, 128, 65536 + 1024)


I5 = (1, 1, 0, 0)
I4 = (1, 1, 0)
I2 = (1, 1)


def img(N):
    return 512 + N * 8


for rs in (0, 1):
    im = I4 if rs else I5
    t = " RS" if rs else " SS"
    for N, c in ((8, 104),):
        wg("", N, 16, "f32", "f16", "f16", rs, im, img(N), 0, c, t)
        wg("", N, 16, "f16", "f16", "f16", rs, im, img(N), 0, c, t)
        wg("", N, 16, "f32", "bf16", "bf16", rs, im, img(N), 0, c // 2, t)
        wg("", N, 8, "f32", "tf32", "tf32", rs, I2, img(N), 0, c // 2, t)
        for at in ("e4m3", "e5m2"):
            for bt in ("e4m3", "e5m2"):
                for dt in ("f32", "f16"):
                    wg(
                        "",
                        N,
                        32,
                        dt,
                        at,
                        bt,
                        rs,
                        I2,
                        img(N),
                        0,
                        (c if rs == 0 else 26) if at == bt else 26,
                        t,
                    )
        for at in ("s8", "u8"):
            for bt in ("s8", "u8"):
                for sat in ("", ".satfinite"):
                    wg("", N, 32, "s32", at, bt, rs, (), img(N), 0, 6, t, sat)
        wg("", N, 256, "s32", "b1", "b1", rs, (), img(N), 0, 6, t, post=".and.popc")
    for N in (16, 24, 64, 96, 128, 192, 256):
        wg("", N, 16, "f32", "f16", "f16", rs, im, img(N), 0, 2, t)
        wg("", N, 16, "f16", "f16", "f16", rs, im, img(N), 0, 2, t)
    for N in (16, 256):
        wg("", N, 32, "s32", "s8", "s8", rs, (), img(N), 0, 2, t)
        wg("", N, 8, "f32", "tf32", "tf32", rs, I2, img(N), 0, 2, t)
        wg("", N, 32, "f32", "e4m3", "e4m3", rs, I2, img(N), 0, 2, t)
    for sa, sb in ((-1, 1), (1, -1), (-1, -1)):
        wg("", 8, 16, "f32", "f16", "f16", rs, (sa, sb) + im[2:], img(8), 0, 26, t + f" neg{sa}{sb}")
        wg("", 8, 16, "f16", "f16", "f16", rs, (sa, sb) + im[2:], img(8), 0, 26, t + f" neg{sa}{sb}")
        wg("", 8, 8, "f32", "tf32", "tf32", rs, (sa, sb), img(8), 0, 26, t + f" neg{sa}{sb}")
        wg("", 8, 32, "f32", "e4m3", "e5m2", rs, (sa, sb), img(8), 0, 26, t + f" neg{sa}{sb}")
for tb in (0, 1):
    wg("", 32, 16, "f16", "f16", "f16", 1, (1, 1, tb), 8192, 1, 96, f" B layout trans{tb}")
for ta in (0, 1):
    wg("", 32, 16, "f16", "f16", "f16", 0, (1, 1, ta, 0), 8192, 2, 96, f" A layout trans{ta}")
# 8-bit and 32-bit types with swizzles, K-major
wg("", 64, 32, "s32", "s8", "u8", 0, (), 8192, 3, 8, " layout")
wg("", 64, 8, "f32", "tf32", "tf32", 0, I2, 8192, 3, 8, " layout")
wg("", 64, 32, "f32", "e4m3", "e4m3", 0, I2, 8192, 3, 8, " layout")
for ta in (0, 1):
    for tb in (0, 1):
        wg("", 64, 16, "f32", "bf16", "bf16", 0, (1, 1, ta, tb), 8192, 3, 8, f" layout trans{ta}{tb}")
src = open("probe_head.inc").read()
src += "".join(kern)
src += "struct Seg{int which,ty,words;}; struct Form{const char*name; void*k; int nseg; Seg segs[6]; int inw,outw,cases,threads,smem;};\nstatic Form forms[]={\n"
for name, idx, segs, inw, out, cases, th, sm in table:
    src += (
        f'{{"{name}",(void*)k{idx},{len(segs)},{{'
        + ",".join("{%d,%d,%d}" % s for s in segs)
        + f"}},{inw},{out},{cases},{th},{sm}}},\n"
    )
src += "};\n" + open("probe_tail.inc").read()
open("probe.cu", "w").write(src)
tot = sum(t[4] * t[5] * 4 for t in table)
print(len(table), "forms", tot, "bytes out", sum(t[3] * t[5] * 4 for t in table), "in")
with open("probe_forms.txt", "w") as f:
    f.write("# form\tcases\tthreads\twords out\tsegments of the input: kind,type,words\n")
    for name, idx, segs, inw, out, cases, th, sm in table:
        f.write(
            "\t".join([name, str(cases), str(th), str(out), " ".join("%d,%d,%d" % s for s in segs)]) + "\n"
        )
