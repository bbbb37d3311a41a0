// Runs the cases of cases.txt on the GPU and writes, for each, its name, a status and bytes in hexadecimal.
//
//   g++ -O1 -std=c++17 -I$CUDA_HOME/include recorder.cpp -o recorder -ldl
//   ./recorder copies.ptx cases.txt result.txt 0
//
// A case that breaks the context ends the program with status 10; result.txt.at holds its number, and the next start
// takes the number behind it. pack.py makes answers.bin of the result.
#include <cuda.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>
using namespace std;
static void* lib;
#define FN(name) static decltype(&name) p_##name;
#define FNS(F)                                                                                               \
    F(cuInit)                                                                                                \
    F(cuDeviceGet) F(cuDevicePrimaryCtxRetain) F(cuCtxSetCurrent) F(cuModuleLoadData) F(cuModuleGetFunction) \
        F(cuMemAlloc) F(cuMemcpyHtoD) F(cuMemcpyDtoH) F(cuMemsetD8) F(cuLaunchKernelEx) F(cuLaunchKernel)    \
            F(cuFuncSetAttribute) F(cuCtxSynchronize) F(cuTensorMapEncodeTiled) F(cuGetErrorName)            \
                F(cuDriverGetVersion) F(cuDeviceGetName)
FNS(FN)
#define STR2(x) #x
#define STR(x) STR2(x)
static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}
static const vector<uint64_t> E16 = {0,      0x8000, 1,      0x8001, 0x3ff,  0x83ff, 0x400,  0x8400, 0x3c00, 0xbc00,
                                     0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x7c01, 0x3555, 0x6400};
static const vector<uint64_t> EB16 = {0,      0x8000, 1,      0x8001, 0x7f,   0x807f, 0x80,   0x8080, 0x3f80, 0xbf80,
                                      0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0, 0xffc1, 0x7f81, 0x3eab, 0x4300};
static const vector<uint64_t> E32 = {0,          0x80000000, 1,          0x80000001, 0x7fffff,   0x807fffff, 0x800000,
                                     0x80800000, 0x3f800000, 0xbf800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
                                     0x7fc00000, 0xffc00001, 0x7f800001, 0x3eaaaaab, 0x4b800000, 0x33800000, 0x3f801000,
                                     0x3f803000, 0x3f800fff, 0x7f7ff000, 0x7fbfffff};
static const vector<uint64_t> E64 = {0,
                                     0x8000000000000000ull,
                                     1,
                                     0x8000000000000001ull,
                                     0xfffffffffffffull,
                                     0x800fffffffffffffull,
                                     0x10000000000000ull,
                                     0x8010000000000000ull,
                                     0x3ff0000000000000ull,
                                     0xbff0000000000000ull,
                                     0x7fefffffffffffffull,
                                     0xffefffffffffffffull,
                                     0x7ff0000000000000ull,
                                     0xfff0000000000000ull,
                                     0x7ff8000000000000ull,
                                     0xfff8000000000001ull,
                                     0x7ff0000000000001ull,
                                     0x3fd5555555555555ull,
                                     0x3ca0000000000000ull};
static const vector<uint64_t> I32 = {0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0x7ffffffe, 0x80000001};
static const vector<uint64_t> I64 = {0,
                                     1,
                                     2,
                                     0x7fffffffffffffffull,
                                     0x8000000000000000ull,
                                     0xffffffffffffffffull,
                                     0xfffffffffffffffeull,
                                     0xffffffffull,
                                     0x100000000ull};
static vector<uint8_t> make(const string& kind, size_t bytes) {
    vector<uint8_t> v(bytes, 0xee);
    if (kind == "ee") return v;
    if (kind == "index16") {
        for (size_t i = 0; i + 1 < bytes; i += 2) {
            v[i] = uint8_t(i / 2);
            v[i + 1] = uint8_t((i / 2) >> 8);
        }
        return v;
    }
    string k = kind.substr(0, kind.find(':'));
    uint64_t seed = kind.find(':') == string::npos ? 0 : atoll(kind.c_str() + kind.find(':') + 1);
    int size;
    const vector<uint64_t>* e = nullptr;
    int mant = 0, bias = 0, width;
    if (k == "f16") {
        size = 2;
        e = &E16;
        mant = 10;
        bias = 15;
    } else if (k == "bf16") {
        size = 2;
        e = &EB16;
        mant = 7;
        bias = 127;
    } else if (k == "f32") {
        size = 4;
        e = &E32;
        mant = 23;
        bias = 127;
    } else if (k == "f64") {
        size = 8;
        e = &E64;
        mant = 52;
        bias = 1023;
    } else if (k == "tiny") {
        size = 4;
        mant = 23;
        bias = 3;
    } else if (k == "u32") {
        size = 4;
        e = &I32;
    } else if (k == "u64") {
        size = 8;
        e = &I64;
    } else {
        size = 8;
    }
    width = size * 8;
    for (size_t i = 0; i * size < bytes; i++) {
        uint64_t h = mix(seed * 0x100000001b3ull + i), r = h >> 2, x = mix(h), val;
        int sel = k == "tiny" ? 3 : e ? int(h & 3) : 2;
        if (sel < 2)
            val = (*e)[(r >> 8) % e->size()];
        else if (sel == 2)
            val = x;
        else if (mant) {
            uint64_t sign = x >> 63, ex = bias - 2 + (x >> 48) % 5;
            val = sign << (width - 1) | ex << mant | (x & ((1ull << mant) - 1));
        } else
            val = x % 100;
        for (int b = 0; b < size && i * size + b < bytes; b++) v[i * size + b] = uint8_t(val >> (8 * b));
    }
    return v;
}
static vector<long long> list(const string& s) {
    vector<long long> v;
    stringstream ss(s);
    string w;
    while (getline(ss, w, ',')) v.push_back(strtoll(w.c_str(), 0, 10));
    return v;
}
static void hex(ofstream& o, const uint8_t* p, size_t n) {
    static const char* d = "0123456789abcdef";
    string s;
    for (size_t i = 0; i < n; i++) {
        s += d[p[i] >> 4];
        s += d[p[i] & 15];
    }
    o << s;
}
int main(int argc, char** argv) {
    if (argc < 5) return 2;
    size_t start = atoi(argv[4]);
    bool plain = getenv("PLAIN") != nullptr, global = getenv("GLOBAL") != nullptr;
    size_t limit = getenv("LIMIT") ? atoi(getenv("LIMIT")) : 1000000, done = 0;
    lib = dlopen("libcuda.so.1", RTLD_NOW);
    if (!lib) {
        fprintf(stderr, "no libcuda\n");
        return 3;
    }
#define LOAD(name)                                     \
    p_##name = (decltype(&name))dlsym(lib, STR(name)); \
    if (!p_##name) {                                   \
        fprintf(stderr, "no %s\n", STR(name));         \
        return 3;                                      \
    }
    FNS(LOAD)
#define OK(call)                                    \
    do {                                            \
        CUresult r_ = (call);                       \
        if (r_) {                                   \
            fprintf(stderr, "%s: %d\n", #call, r_); \
            return 4;                               \
        }                                           \
    } while (0)
    OK(p_cuInit(0));
    CUdevice dev;
    OK(p_cuDeviceGet(&dev, 0));
    CUcontext ctx;
    OK(p_cuDevicePrimaryCtxRetain(&ctx, dev));
    OK(p_cuCtxSetCurrent(ctx));
    int version;
    p_cuDriverGetVersion(&version);
    char name[100];
    p_cuDeviceGetName(name, 100, dev);
    ifstream mf(argv[1], ios::binary);
    vector<char> image((istreambuf_iterator<char>(mf)), istreambuf_iterator<char>());
    image.push_back(0);
    CUmodule mod;
    OK(p_cuModuleLoadData(&mod, image.data()));
    const size_t ALL = 4 << 20, MID = 1 << 20;
    CUdeviceptr x, in, out, gmap;
    OK(p_cuMemAlloc(&gmap, 4096));
    OK(p_cuMemAlloc(&x, ALL));
    OK(p_cuMemAlloc(&in, 1 << 20));
    OK(p_cuMemAlloc(&out, 1 << 20));
    CUdeviceptr g = x + MID;
    ofstream o(argv[3], ios::app);
    if (start == 0) o << "# " << name << " driver " << version << "\n";
    ifstream cf(argv[2]);
    string line;
    size_t index = 0;
    while (getline(cf, line)) {
        if (line.empty() || line[0] == '#') continue;
        size_t me = index++;
        if (me < start) continue;
        if (done++ >= limit) break;
        {
            ofstream p(string(argv[3]) + ".at");
            p << me;
        }
        stringstream ss(line);
        string id, kind, w;
        ss >> id >> kind;
        map<string, string> k;
        while (ss >> w) {
            size_t e = w.find('=');
            k[w.substr(0, e)] = w.substr(e + 1);
        }
        auto num = [&](const char* n) { return strtoull(k[n].c_str(), 0, 10); };
        alignas(64) CUtensorMap map;
        memset(&map, 0, sizeof map);
        auto encode = [&](uint64_t address) -> CUresult {
            auto d = list(k["dims"]), s = list(k["strides"]), b = list(k["box"]), e = list(k["es"]);
            cuuint64_t dims[5] = {1, 1, 1, 1, 1}, st[5] = {0};
            cuuint32_t box[5] = {1, 1, 1, 1, 1}, es[5] = {1, 1, 1, 1, 1};
            for (size_t i = 0; i < d.size(); i++) {
                dims[i] = d[i];
                box[i] = b[i];
                es[i] = e[i];
                if (i < s.size()) st[i] = s[i];
            }
            return p_cuTensorMapEncodeTiled(&map, (CUtensorMapDataType)num("type"), d.size(), (void*)address, dims, st,
                                            box, es, (CUtensorMapInterleave)num("il"), (CUtensorMapSwizzle)num("sw"),
                                            (CUtensorMapL2promotion)num("l2"), (CUtensorMapFloatOOBfill)num("oob"));
        };
        if (kind == "encode") {
            CUresult r = encode(num("addr"));
            o << id << " " << r << " ";
            hex(o, (uint8_t*)&map, 128);
            o << "\n";
            o.flush();
            continue;
        }
        CUfunction f;
        CUresult r = p_cuModuleGetFunction(&f, mod, k["entry"].c_str());
        if (r) {
            o << id << " nofn" << r << " \n";
            continue;
        }
        uint32_t dump = num("dump"), tx = num("tx"), off = num("off"), mask = num("mask");
        uint64_t gdump = num("gdump");
        vector<long long> at = list(k["at"]);
        at.resize(5);
        int32_t c[5];
        for (int i = 0; i < 5; i++) c[i] = at[i];
        vector<void*> params;
        CUdeviceptr pout = out, pin = in;
        uint64_t value = num("value");
        uint32_t shared = dump, grid = 1, threads = 128, cluster = 1;
        CUdeviceptr from = out;
        size_t bytes = dump;
        p_cuMemsetD8(out, 0, 1 << 20);
        if (kind == "load" || kind == "multi") {
            vector<uint8_t> data = make(k["data"], ALL - MID);
            p_cuMemcpyHtoD(g, data.data(), data.size());
            r = encode(g + num("base"));
            if (r) {
                o << id << " encode" << r << " \n";
                continue;
            }
            params = {&map, &pout, &dump, &tx, &off, &c[0], &c[1], &c[2], &c[3], &c[4], &mask};
            if (kind == "multi") {
                grid = cluster = 4;
                bytes = 4 * 4096;
            }
        } else if (kind == "store") {
            vector<uint8_t> data = make(k["data"], dump);
            p_cuMemcpyHtoD(in, data.data(), data.size());
            vector<uint8_t> before = make(k["before"], gdump);
            p_cuMemcpyHtoD(g, before.data(), before.size());
            r = encode(g + num("base"));
            if (r) {
                o << id << " encode" << r << " \n";
                continue;
            }
            params = {&map, &pin, &dump, &off, &c[0], &c[1], &c[2], &c[3], &c[4]};
            from = g;
            bytes = gdump;
        } else if (kind == "bulk" || kind == "remote") {
            vector<uint8_t> data = make(k["data"], kind == "remote" ? 2 * dump : dump);
            p_cuMemcpyHtoD(in, data.data(), data.size());
            vector<uint8_t> before = make(k["before"], gdump);
            p_cuMemcpyHtoD(out, before.data(), before.size());
            params = {&pin, &dump, &pout};
            bytes = gdump;
            if (kind == "remote") {
                grid = cluster = 2;
            }
        } else if (kind == "replace") {
            k["type"] = "6";
            k["dims"] = "256,64,20,10,5";
            k["strides"] = "512,32768,655360,6553600";
            k["box"] = "64,8,2,2,1";
            k["es"] = "1,1,1,1,1";
            r = encode(0x7f1234567000ull);
            p_cuMemcpyHtoD(out, &map, 128);
            params = {&pout, &value};
            shared = 0;
            threads = 32;
            from = out + 128;
            bytes = 128;
        }
        p_cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 65536);
        CUlaunchConfig cfg;
        memset(&cfg, 0, sizeof cfg);
        cfg.gridDimX = grid;
        cfg.gridDimY = cfg.gridDimZ = 1;
        cfg.blockDimX = threads;
        cfg.blockDimY = cfg.blockDimZ = 1;
        cfg.sharedMemBytes = shared + 256;
        CUlaunchAttribute attr;
        memset(&attr, 0, sizeof attr);
        attr.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        attr.value.clusterDim.x = cluster;
        attr.value.clusterDim.y = attr.value.clusterDim.z = 1;
        cfg.attrs = &attr;
        cfg.numAttrs = 1;
        if (getenv("SHOW")) {
            fprintf(stderr, "%s map: ", id.c_str());
            for (int i = 0; i < 128; i++) fprintf(stderr, "%02x", ((uint8_t*)&map)[i]);
            fprintf(stderr, " x %llx at %p\n", (unsigned long long)g, (void*)&map);
        }
        if (global && !params.empty() && params[0] == (void*)&map) {
            p_cuMemcpyHtoD(gmap, &map, 128);
            params[0] = &gmap;
        }
        if (plain && cluster == 1)
            r = p_cuLaunchKernel(f, 1, 1, 1, threads, 1, 1, shared + 256, nullptr, params.data(), nullptr);
        else
            r = p_cuLaunchKernelEx(&cfg, f, params.data(), nullptr);
        if (!r) r = p_cuCtxSynchronize();
        if (r) {
            o << id << " launch" << r << " \n";
            o.flush();
            return 10;
        }
        vector<uint8_t> result(bytes + 4);
        OK(p_cuMemcpyDtoH(result.data(), from, bytes + 4));
        if (kind == "multi") {
            vector<uint8_t> packed;
            for (int b = 0; b < 4; b++)
                packed.insert(packed.end(), result.begin() + b * 4096, result.begin() + b * 4096 + dump);
            result = packed;
            bytes = packed.size();
        }
        uint32_t status = 0;
        if (kind == "load") memcpy(&status, &result[bytes], 4);
        o << id << " " << (status ? "late" : "0") << " ";
        hex(o, result.data(), bytes);
        o << "\n";
        o.flush();
    }
    {
        ofstream p(string(argv[3]) + ".at");
        p << "end";
    }
    return 0;
}
