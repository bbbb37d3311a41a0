use std::collections::BTreeMap;

use factory_spec::draw;
use factory_spec::oracle::{self, Inputs};
use factory_spec::{ArgId, Spec};

use super::super::judge::LocalJudge;
use super::*;

#[test]
fn windows_hold_the_first_rows_the_last_ones_and_some_that_nobody_knows() {
    let found = starts(32768, 100, &mut Stream(1));
    assert_eq!((found.first(), found.last()), (Some(&0), Some(&32668)));
    assert_eq!(found.len(), WINDOWS);
    assert_ne!(found, starts(32768, 100, &mut Stream(2)));
    assert_eq!(starts(7, 7, &mut Stream(1)), [0]);
    assert!(starts(8, 7, &mut Stream(1)).iter().all(|start| start + 7 <= 8));
}

/// A kernel with sums along every size, and what its tensors hold when it was right.
struct Gradient {
    spec: BoundSpec,
    sizes: SizeValues,
    /// Of each argument.
    tensors: Vec<Vec<u8>>,
}

impl Gradient {
    fn new() -> Gradient {
        let text = "[kernel]\nname = \"gradient\"\n[sizes]\nm = { min = 1 }\nh = { min = 1 }\nn = { min = 1 }\n\
            [[arg]]\nname = \"x\"\ndtype = \"f32\"\nshape = [\"m\", \"h\", \"n\"]\n\
            [[arg]]\nname = \"w\"\ndtype = \"bf16\"\nshape = [\"n\"]\n\
            [[arg]]\nname = \"dx\"\ndtype = \"f32\"\nshape = [\"m\", \"h\", \"n\"]\nrole = \"out\"\n\
            [[arg]]\nname = \"dw\"\ndtype = \"f32\"\nshape = [\"n\"]\nrole = \"out\"\n\
            [[arg]]\nname = \"s\"\ndtype = \"f32\"\nshape = [\"h\"]\nrole = \"out\"\n\
            [reference]\nprogram = \"dx = x * mean(x * w, n)\\ndw = sum(x * w, m, h)\\ns = sum(x, m, n)\"\n\
            [targets]\narch = [\"sm_90\"]\n";
        let spec = Spec::parse(std::path::Path::new("test.toml"), text).expect("a spec");
        let spec = spec.bind(&BTreeMap::new()).expect("no types to bind");
        let free = [("m", 12), ("h", 5), ("n", 20)].map(|(name, value)| (name.to_owned(), value));
        let sizes = spec.size_values(&BTreeMap::from(free)).expect("sizes");
        let inputs = draw::draw_inputs(&spec, &crate::cases::case_at(&spec, sizes.clone(), 7));
        let outputs = oracle::evaluate(&spec, &sizes, &inputs).expect("the oracle");
        let tensors = (0..spec.args.len())
            .map(|index| {
                let id = ArgId(index as u32);
                inputs
                    .bytes(&spec, id)
                    .unwrap_or_else(|| encoded(&spec, id, outputs.get(id).expect("an output")))
            })
            .collect();
        Gradient { spec, sizes, tensors }
    }

    fn cuts(&self) -> Vec<Cut> {
        cuts(&self.spec).expect("each output falls apart somewhere")
    }

    /// Whether some window refuses these tensors, those of a candidate.
    fn refuses(&self, tensors: &[Vec<u8>], cuts: &[Cut], starts: impl Fn(u64, u64) -> Vec<u64>) -> bool {
        let judge = LocalJudge::new(&self.spec, None);
        let mut left = Vec::new();
        for Cut { size, told } in cuts {
            let (all, length) = (self.sizes[*size], 2);
            let small = with_size(&self.spec, &self.sizes, *size, length).expect("sizes of a part");
            for start in starts(all, length) {
                let part = Part { size: *size, all, start, length };
                let bytes = |id: ArgId| {
                    let strip = Strip::new(&self.spec, id.index(), &small, Some(&part));
                    ByteBuf::from(taken(&tensors[id.index()], &strip))
                };
                let read = self.spec.inputs().map(|(id, _)| (id.index() as u32, bytes(id))).collect();
                let inputs = WindowInputs { sizes: small.0.clone(), seed: 7, tensors: read };
                judge.open(left.len(), &inputs).expect("the oracle");
                let outputs = self.spec.outputs().zip(told).map(|((id, _), told)| told.then(|| bytes(id)));
                left.push(WindowOutputs { number: left.len(), outputs: outputs.collect() });
            }
        }
        judge.agree(left).iter().any(Result::is_err)
    }

    /// The tensors of a candidate that gets the last element of one output wrong.
    fn wrong_in(&self, output: &str) -> Vec<Vec<u8>> {
        let index = self.spec.args.iter().position(|arg| arg.name == output).expect("an output");
        let mut tensors = self.tensors.clone();
        let last = tensors[index].last_chunk_mut::<4>().expect("f32 elements");
        *last = (f32::from_le_bytes(*last) + 1.0).to_le_bytes();
        tensors
    }
}

fn encoded(spec: &BoundSpec, id: ArgId, values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    spec.args[id.index()].dtype.encode(values, &mut bytes);
    bytes
}

/// The strip of a host's copy of a tensor.
fn taken(tensor: &[u8], strip: &Strip) -> Vec<u8> {
    let rows = strip.bytes / strip.width;
    (0..rows).flat_map(|row| &tensor[strip.offset + row * strip.pitch..][..strip.width]).copied().collect()
}

#[test]
fn the_oracle_says_of_a_part_what_it_says_of_the_whole() {
    let Gradient { spec, sizes, tensors } = &Gradient::new();
    let mut looked_at = vec![0; 3];
    for Cut { size, told } in cuts(spec).expect("each falls apart somewhere") {
        for (start, length) in [(0, 1), (2, 3), (4, 1)] {
            let part = Part { size, all: sizes[size], start, length };
            let small = with_size(spec, sizes, size, length).expect("sizes of a part");
            let mut values = BTreeMap::new();
            for (id, arg) in spec.inputs() {
                let bytes = &tensors[id.index()];
                let mut of = Vec::new();
                let strip = Strip::new(spec, id.index(), &small, Some(&part));
                assert!(strip.end() <= bytes.len());
                arg.dtype.decode(&taken(bytes, &strip), &mut of);
                values.insert(id, of);
            }
            let alone = oracle::evaluate(spec, &small, &Inputs(values)).expect("the oracle");
            for (position, ((id, _), told)) in spec.outputs().zip(&told).enumerate() {
                let strip = Strip::new(spec, id.index(), &small, Some(&part));
                let of_whole = taken(&tensors[id.index()], &strip);
                let of_part = encoded(spec, id, alone.get(id).expect("an output"));
                if *told {
                    assert_eq!(of_whole, of_part, "output {position} along size {size:?} from {start} on");
                    looked_at[position] += 1;
                }
            }
        }
    }
    assert_eq!(looked_at, [3, 3, 3], "every output is told along one size");
}

/// The harness broken on purpose: what refuses a candidate that is wrong in one place, and what lets it through.
#[test]
fn windows_along_every_cut_and_at_both_ends_are_needed() {
    let gradient = Gradient::new();
    let cuts = gradient.cuts();
    let whole = |all, length| starts(all, length, &mut Stream(3));
    assert!(!gradient.refuses(&gradient.tensors, &cuts, whole), "what is right passes");
    let first_alone = |_, _| vec![0];
    for (position, output) in ["dx", "dw", "s"].into_iter().enumerate() {
        let wrong = gradient.wrong_in(output);
        assert!(gradient.refuses(&wrong, &cuts, whole), "`{output}` is wrong");
        let others: Vec<Cut> = cuts.iter().filter(|cut| !cut.told[position]).cloned().collect();
        assert!(!others.is_empty() && others.len() < cuts.len());
        assert!(!gradient.refuses(&wrong, &others, whole), "`{output}` is told along a size of its own");
        assert!(!gradient.refuses(&wrong, &cuts, first_alone), "the end of `{output}` is in the last window");
    }
}

/// Parts of a tensor whose rows lie a stride apart are those of the dense one.
#[test]
fn parts_of_rows_with_gaps_are_those_of_dense_rows() {
    let text = |stride: &str| {
        format!(
            "[kernel]\nname = \"k\"\n[sizes]\nb = {{}}\nm = {{}}\nn = {{}}\ns = {{ value = \"2 * n + 3\" }}\n\
             [[arg]]\nname = \"x\"\ndtype = \"bf16\"\nshape = [\"b\", \"m\", \"n\"]\n{stride}\n\
             [[arg]]\nname = \"y\"\ndtype = \"bf16\"\nshape = [\"b\", \"m\", \"n\"]\nrole = \"out\"\n\
             [reference]\nprogram = \"y = x * 2\"\n"
        )
    };
    let bind = |text: String| {
        let spec = Spec::parse(std::path::Path::new("test.toml"), &text).expect("a spec");
        spec.bind(&BTreeMap::new()).expect("no types to bind")
    };
    let (dense, strided) = (bind(text("")), bind(text("row_stride = \"s\"")));
    let free = [("b", 3), ("m", 4), ("n", 5)].map(|(name, value)| (name.to_owned(), value));
    let sizes = strided.size_values(&BTreeMap::from(free)).expect("sizes");
    let tensor: Vec<u8> = (0..3 * 4 * 5 * 2).collect();
    let memory = strided.rows(&strided.args[0], &sizes).spread(&tensor, 2, 0xff);
    let part = |name: &str| {
        let size = strided.size_id(name).expect("a size");
        Part { size, all: sizes[size], start: 1, length: 2 }
    };
    for part in [None, Some(part("b")), Some(part("m")), Some(part("n"))] {
        let small = part
            .as_ref()
            .map_or(Some(sizes.clone()), |part| with_size(&dense, &sizes, part.size, part.length));
        let small = small.expect("sizes of a part");
        let wanted = taken(&tensor, &Strip::new(&dense, 0, &small, part.as_ref()));
        let strips = Strip::all(&strided, 0, &small, part.as_ref());
        assert!(strips.iter().all(|strip| strip.end() <= memory.len()));
        let found: Vec<u8> = strips.iter().flat_map(|strip| taken(&memory, strip)).collect();
        assert_eq!(found, wanted);
    }
}
