//! The inputs of the recorded matrix instructions: drawn from a generator, so that only answers are kept.

/// One part of a form's input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) kind: usize,
    pub(crate) ty: usize,
    pub(crate) words: usize,
}

/// One line of `forms.txt`.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// The instruction, and behind a blank what else distinguishes the form.
    pub(crate) name: String,
    pub(crate) cases: usize,
    pub(crate) threads: usize,
    pub(crate) out_words: usize,
    pub(crate) segments: Vec<Segment>,
}

impl Form {
    /// Reads a line; `None` for a comment.
    pub(crate) fn parse(line: &str) -> Option<Form> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, cases, threads, out_words, segments] = fields[..] else { return None };
        let segments = segments.split(' ').map(|segment| {
            let numbers: Vec<usize> = segment.split(',').map(|n| n.parse().expect("a number")).collect();
            Segment { kind: numbers[0], ty: numbers[1], words: numbers[2] }
        });
        Some(Form {
            name: name.to_owned(),
            cases: cases.parse().ok()?,
            threads: threads.parse().ok()?,
            out_words: out_words.parse().ok()?,
            segments: segments.collect(),
        })
    }

    /// 32-bit words of one case's input.
    pub(crate) fn in_words(&self) -> usize {
        self.segments.iter().map(|segment| segment.words).sum()
    }

    /// The input of a case.
    pub(crate) fn input(&self, case: usize) -> Vec<u32> {
        let name = self.name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut random = Random(name ^ (case as u64 + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut words = Vec::with_capacity(self.in_words());
        for segment in &self.segments {
            fill(segment, case, &mut random, &mut words);
        }
        words
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Exponent bits, fraction bits and width of f16, bf16, tf32, f32, f64, e4m3, e5m2.
const FLOATS: [(u32, u32, u32); 7] =
    [(5, 10, 16), (8, 7, 16), (8, 23, 32), (8, 23, 32), (11, 52, 64), (4, 3, 8), (5, 2, 8)];

/// Kinds of numbers in A, B and C of each case, case after case.
const KINDS: [[u32; 3]; 26] = [
    [0, 0, 0],
    [1, 1, 1],
    [1, 1, 10],
    [2, 2, 9],
    [2, 2, 10],
    [3, 3, 3],
    [3, 3, 9],
    [4, 4, 9],
    [5, 4, 10],
    [5, 5, 9],
    [6, 6, 10],
    [6, 1, 9],
    [6, 8, 1],
    [7, 1, 1],
    [1, 7, 7],
    [8, 8, 8],
    [12, 12, 9],
    [5, 4, 5],
    [2, 4, 1],
    [4, 5, 6],
    [10, 1, 6],
    [4, 3, 10],
    [8, 6, 9],
    [4, 8, 9],
    [6, 6, 6],
    [8, 8, 10],
];

/// One element of a type: small integers, near one, spread, any bits, sparse, powers of two, subnormals, specials, huge,
/// very spread, zeros, full significands.
fn element(ty: usize, kind: u32, random: &mut Random) -> u64 {
    let u = random.next();
    if ty == 7 {
        return u;
    }
    if ty == 8 {
        let low = u as u32;
        return u64::from(match kind {
            10 => 0,
            8 if u >> 63 != 0 => 0x7fff_ffff - (low & 0x3ff),
            8 => 0x8000_0000 + (low & 0x3ff),
            _ => low >> (u >> 40 & 31),
        });
    }
    let (exponent_bits, fraction_bits, _) = FLOATS[ty];
    let bias = (1i64 << (exponent_bits - 1)) - 1;
    let ones = (1i64 << exponent_bits) - 1;
    let infinity = ty != 5;
    let greatest = if infinity { ones - 1 } else { ones };
    let mask = (1u64 << fraction_bits) - 1;
    let sign = u >> 63;
    let mut f = u & mask;
    let q = random.next();
    let below = |shift: u32, modulus: u64| ((q >> shift) % modulus) as i64;
    let mut e;
    match kind {
        0 => {
            (e, f) = match q % 5 {
                0 => (0, 0),
                1 => (bias, 0),
                2 => (bias + 1, 0),
                3 => (bias + 1, 1 << (fraction_bits - 1)),
                _ => (bias + 2, 0),
            };
        }
        1 => e = bias - 2 + below(0, 4),
        2 => e = bias - 8 + below(0, 16),
        3 => {
            e = below(0, ones as u64 + 1);
            if e == ones && infinity {
                e = bias;
            }
        }
        4 if q % 8 < 5 => (e, f) = (0, 0),
        4 => {
            e = bias - 8 + below(8, 16);
            f &= q >> 16;
        }
        5 => {
            e = if q.is_multiple_of(8) { 0 } else { bias - 8 + below(8, 16) };
            f = 0;
        }
        6 => e = below(0, 3),
        7 => match q % 32 {
            0 if infinity => (e, f) = (ones, 0),
            1 if infinity => {
                e = ones;
                f |= 1;
            }
            1 => (e, f) = (ones, mask),
            2 => (e, f) = (greatest, if infinity { mask } else { mask - 1 }),
            3 => (e, f) = (0, 0),
            4 => e = 0,
            _ => e = bias - 2 + below(8, 4),
        },
        8 => e = greatest - below(0, 3),
        9 => e = bias - 30 + below(0, 50),
        10 => (e, f) = (0, 0),
        11 => e = bias - 16 + below(0, 30),
        _ => {
            e = bias - 2 + below(0, 4);
            let less = if (q >> 8).is_multiple_of(4) { (q >> 16) % 4 } else { 0 };
            f = mask.wrapping_sub(less).min(mask);
        }
    }
    e = e.clamp(0, ones);
    if kind != 7 {
        if infinity && e == ones {
            e = greatest;
        }
        if !infinity && e == ones && f == mask {
            f = mask - 1;
        }
    }
    sign << (exponent_bits + fraction_bits) | (e as u64) << fraction_bits | f
}

/// A shared-memory descriptor of `wgmma`: start and the two distances in bytes.
fn descriptor(start: u64, leading: u64, stride: u64, offset: u64, swizzle: u64) -> u64 {
    (start >> 4 & 0x3fff)
        | (leading >> 4 & 0x3fff) << 16
        | (stride >> 4 & 0x3fff) << 32
        | offset << 49
        | swizzle << 62
}

/// A descriptor with any distances; how they are drawn depends on the case.
fn any_descriptor(case: usize, random: &mut Random) -> u64 {
    let mut x = random.next();
    let swizzle = case as u64 % 4;
    let mut start = 1024 * (x % 3);
    x >>= 8;
    let mut leading = 16 * (x % 128);
    x >>= 8;
    let mut stride = 16 * (x % 128);
    x >>= 8;
    let mut offset = 0;
    match case / 4 % 4 {
        0 => {
            leading = 128 * (1 + x % 8);
            x >>= 8;
            stride = 128 * (1 + x % 8) * if swizzle == 0 { 1 } else { 2 };
        }
        1 => {
            start += 128 * (x % 8);
            offset = start >> 7 & 7;
            x >>= 8;
            leading = 128 * (x % 16);
            x >>= 8;
            stride = 128 * (x % 16);
        }
        2 => start += 16 * (x % 64),
        _ => {
            start += 128 * (x % 8);
            x >>= 8;
            offset = x % 8;
            x >>= 8;
            leading = 256 * (x % 8);
            x >>= 8;
            stride = 256 * (x % 8);
        }
    }
    descriptor(start, leading, stride, offset, swizzle)
}

/// The words in front of a `wgmma` case: both descriptors and whether D is added to.
fn header(variant: usize, case: usize, random: &mut Random) -> [u32; 8] {
    let mut a = descriptor(0, 128, 256, 0, 0);
    let mut b = descriptor(2048, 128, 256, 0, 0);
    match variant {
        1 => b = any_descriptor(case, random),
        2 => {
            a = any_descriptor(case, random);
            b = descriptor(4 * (8192 - 256), 128, 256, 0, 0);
        }
        3 => {
            let x = random.next();
            let usual = |swizzle: u64, start: u64| {
                let row = [16, 128, 64, 32][swizzle as usize];
                let leading = if swizzle == 0 { 1024 } else { 8 * row * ((x >> 20) % 2 + 1) };
                descriptor(start, leading, 8 * row, 0, swizzle)
            };
            a = usual(case as u64 % 4, 1024 * (x % 4));
            b = usual((case / 4 + case) as u64 % 4, 16384 + 1024 * ((x >> 8) % 4));
        }
        _ => {}
    }
    let add =
        if variant == 0 || variant == 3 { u32::from(case % 4 != 3 || case.is_multiple_of(26)) } else { 1 };
    [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32, add, 0, 0, 0]
}

fn fill(segment: &Segment, case: usize, random: &mut Random, words: &mut Vec<u32>) {
    let start = words.len();
    words.resize(start + segment.words, 0);
    let out = &mut words[start..];
    match segment.kind {
        0..=2 => {
            let kind = KINDS[case % 26][segment.kind];
            let width = FLOATS.get(segment.ty).map_or(32, |(_, _, width)| *width);
            if width == 64 {
                for pair in out.chunks_exact_mut(64) {
                    for lane in 0..32 {
                        let value = element(segment.ty, kind, random);
                        pair[lane] = value as u32;
                        pair[lane + 32] = (value >> 32) as u32;
                    }
                }
                return;
            }
            for word in out {
                for shift in (0..32).step_by(width as usize) {
                    let value = element(segment.ty, kind, random) & (u64::MAX >> (64 - width));
                    *word |= (value as u32) << shift;
                }
            }
        }
        // Addresses of matrix rows, and rows none of which lie on another.
        3 => out.iter_mut().for_each(|word| *word = 16 * (random.next() % segment.ty as u64) as u32),
        7 => {
            for (index, word) in out.iter_mut().enumerate() {
                *word = 16 * index as u32;
            }
            for index in (1..out.len()).rev() {
                out.swap(index, (random.next() % (index as u64 + 1)) as usize);
            }
            if segment.ty > segment.words {
                let add = 16 * (random.next() % (segment.ty - segment.words) as u64) as u32;
                out.iter_mut().for_each(|word| *word += add);
            }
        }
        // Unit rows of A in registers.
        4 => {
            for register in 0..4 {
                for thread in 0..128 {
                    for half in 0..2 {
                        let row = thread % 32 / 4 + 8 * (register & 1);
                        let column = thread % 4 * 2 + half + 8 * (register >> 1);
                        if row == column {
                            out[register * 128 + thread] |= 0x3c00 << (16 * half);
                        }
                    }
                }
            }
        }
        6 => out.copy_from_slice(&header(segment.ty, case, random)),
        8 => {
            for word in out {
                for half in 0..2 {
                    *word |= (element(0, 3, random) as u32) << (16 * half);
                }
            }
        }
        // Unit columns of B in shared memory.
        9 => {
            for n in 0..32 {
                let k = n % 16;
                let at = n / 8 * 128 + k / 8 * 64 + n % 8 * 8 + k % 8;
                out[at / 2] |= 0x3c00 << (16 * (at % 2));
            }
        }
        _ => {}
    }
}
