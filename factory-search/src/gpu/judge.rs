//! Whether what a run left is right: asked of somebody who knows the oracle's answers.
//!
//! Whoever runs candidates has a [`Judge`] and never an expected value. In a worker it is the process at the other end of the
//! pipe; where candidates run in the process of the search it is a [`LocalJudge`]. Both get bytes that were copied out of
//! the device, and nothing expected is ever copied in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use factory_spec::draw::Case;
use factory_spec::oracle::{self, Inputs, Outputs};
use factory_spec::tolerance::{self, Tolerances};
use factory_spec::{Arg, ArgId, BoundSpec, SizeValues, compare};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::sets::scalar;
use crate::cases::{Cases, PreparedCase};
use crate::parallel;
use crate::sequences;
use crate::verdict::Reason;

/// Of which case a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The position among the cases.
    pub case: usize,
    /// The call of the sequence that starts from the case.
    pub step: Option<usize>,
}

/// What a judge is asked about a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Whether the outputs of a run are what the oracle says.
    Right {
        /// The case.
        place: Place,
        /// The bytes of each output.
        outputs: Vec<ByteBuf>,
    },
    /// Whether two runs that may differ are as near to each other as to what is right.
    Near {
        /// The case.
        place: Place,
        /// The bytes of each output of one.
        first: Vec<ByteBuf>,
        /// The bytes of each output of the other.
        second: Vec<ByteBuf>,
    },
}

impl Question {
    pub(crate) fn place(&self) -> Place {
        match self {
            Question::Right { place, .. } | Question::Near { place, .. } => *place,
        }
    }
}

/// What a judge says: yes, and whether a wrong answer would have been noticed, or why not.
pub type Answer = Result<Telling, Reason>;

/// Whether a call of a sequence shows anything: the answer of the call before would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling(pub bool);

/// A part of the buffers that a timed candidate reads: what the oracle is to evaluate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowInputs {
    /// The sizes of this part.
    pub sizes: Vec<u64>,
    /// The seed of the measurement.
    pub seed: u64,
    /// Bytes of each tensor that is read, by the position of its argument.
    pub tensors: Vec<(u32, ByteBuf)>,
}

/// What a candidate left in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowOutputs {
    /// The number of the window.
    pub number: usize,
    /// The bytes of each output; `None` for one that the window says nothing about.
    pub outputs: Vec<Option<ByteBuf>>,
}

/// Knows what is right.
pub trait Judge {
    /// Answers questions, one answer each, in their order.
    fn ask(&self, questions: Vec<Question>) -> Vec<Answer>;

    /// Evaluates a window, which has this number from now on; the mean square of each output in it.
    ///
    /// # Errors
    /// The oracle cannot.
    fn open(&self, number: usize, inputs: &WindowInputs) -> Result<Vec<f64>, Reason>;

    /// Compares the outputs in windows, one answer each, in their order: what differs, in words.
    fn agree(&self, windows: Vec<WindowOutputs>) -> Vec<Result<(), String>>;

    /// Whether windows of one measurement are still known in the next.
    fn remembers(&self) -> bool {
        false
    }
}

/// A judge in this process.
pub struct LocalJudge<'a> {
    spec: &'a BoundSpec,
    cases: Option<&'a Cases>,
    windows: Arc<Windows>,
}

/// What a judge evaluated for whoever times, by number.
#[derive(Default)]
pub struct Windows(Mutex<BTreeMap<usize, Window>>);

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows").finish_non_exhaustive()
    }
}

struct Window {
    case: Case,
    expected: Outputs,
    tolerances: Tolerances,
}

impl<'a> LocalJudge<'a> {
    /// A judge for these cases; `None` for one that is only asked about windows.
    pub fn new(spec: &'a BoundSpec, cases: Option<&'a Cases>) -> LocalJudge<'a> {
        LocalJudge { spec, cases, windows: Arc::default() }
    }

    /// A judge that is asked about windows, and knows those that another one evaluated for the same worker.
    pub(crate) fn that_knows(spec: &'a BoundSpec, windows: Arc<Windows>) -> LocalJudge<'a> {
        LocalJudge { spec, cases: None, windows }
    }

    fn answer(&self, question: &Question) -> Answer {
        let place = question.place();
        let start = self.cases.and_then(|cases| cases.all().get(place.case));
        let start = start.ok_or_else(|| broken(format!("there is no case {}", place.case)))?;
        let mut telling = Telling(true);
        let case = match place.step {
            None => start,
            Some(number) => {
                let steps = start.steps(self.spec);
                let step = steps.get(number).ok_or_else(|| broken(format!("there is no step {number}")))?;
                let tells = sequences::is_telling(self.spec, steps, number).map_err(|message| {
                    broken(format!("a sequence of calls could not be prepared: {message}"))
                })?;
                telling = Telling(tells);
                &step.case
            }
        };
        match question {
            Question::Right { outputs, .. } => right(self.spec, case, outputs, telling)?,
            Question::Near { first, second, .. } => near(self.spec, case, first, second)?,
        }
        Ok(telling)
    }
}

impl Judge for LocalJudge<'_> {
    fn ask(&self, questions: Vec<Question>) -> Vec<Answer> {
        parallel::map(threads(), &questions, |_, question| self.answer(question), |_, _| ())
    }

    fn open(&self, number: usize, window: &WindowInputs) -> Result<Vec<f64>, Reason> {
        let spec = self.spec;
        let oracle = |error: oracle::OracleError| broken(format!("the oracle: {error}"));
        if window.sizes.len() != spec.sizes.len() {
            return Err(broken("a window has other sizes than the spec".to_owned()));
        }
        let case = crate::cases::case_at(spec, SizeValues(window.sizes.clone()), window.seed);
        let tensors: BTreeMap<u32, &[u8]> =
            window.tensors.iter().map(|(arg, bytes)| (*arg, bytes.as_ref())).collect();
        let mut values = BTreeMap::new();
        for (id, arg) in spec.inputs() {
            let mut of = Vec::new();
            if arg.scalar {
                of.push(arg.dtype.round(scalar(arg)));
            } else {
                let bytes = tensors.get(&(id.index() as u32)).copied().unwrap_or_default();
                if bytes.len() != spec.elements(arg, &case.sizes) * arg.dtype.size() {
                    return Err(broken(format!("a window has {} bytes of `{}`", bytes.len(), arg.name)));
                }
                arg.dtype.decode(bytes, &mut of);
            }
            values.insert(id, of);
        }
        let inputs = Inputs(values);
        let expected = oracle::evaluate(spec, &case.sizes, &inputs).map_err(oracle)?;
        let tolerances = tolerance::tolerances_for(spec, &case, &inputs, &expected).map_err(oracle)?;
        let squares = spec.outputs().map(|(id, _)| mean_square(&expected, id)).collect();
        let mut windows = self.windows.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.insert(number, Window { case, expected, tolerances });
        Ok(squares)
    }

    fn agree(&self, windows: Vec<WindowOutputs>) -> Vec<Result<(), String>> {
        let known = self.windows.0.lock().unwrap_or_else(PoisonError::into_inner);
        parallel::map(
            threads(),
            &windows,
            |_, WindowOutputs { number, outputs }| {
                let window =
                    known.get(number).ok_or_else(|| format!("window {number} was never evaluated"))?;
                let (expected, tolerances) = (&window.expected, &window.tolerances);
                let slices: Vec<Option<&[u8]>> =
                    outputs.iter().map(|bytes| bytes.as_ref().map(|bytes| bytes.as_slice())).collect();
                compare::compare_some(self.spec, &window.case, expected, &slices, tolerances)
                    .map(|_| ())
                    .map_err(|mismatch| mismatch.to_string())
            },
            |_, _| (),
        )
    }
}

/// Comparing takes longer than running.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

fn broken(message: String) -> Reason {
    Reason::Infrastructure { message }
}

fn mean_square(outputs: &Outputs, id: ArgId) -> f64 {
    let values = outputs.get(id).unwrap_or_default();
    let finite = values.iter().filter(|value| value.is_finite());
    finite.map(|value| value * value).sum::<f64>() / values.len().max(1) as f64
}

/// Compares the outputs of one run with the oracle's, and remembers what it tells if they are right.
fn right(spec: &BoundSpec, case: &PreparedCase, outputs: &[ByteBuf], telling: Telling) -> Result<(), Reason> {
    let digest = PreparedCase::digest(outputs);
    if case.known_right(&digest).is_some() {
        return Ok(());
    }
    let ready = case.ready(spec).map_err(|message| broken(message.to_owned()))?;
    let outputs = rows(spec, case, outputs);
    let slices: Vec<&[u8]> = outputs.iter().map(AsRef::as_ref).collect();
    compare::compare(spec, &case.case, &ready.expected, &slices, &ready.tolerances)
        .map_err(|mismatch| Reason::Mismatch { sizes: case.label.clone(), message: mismatch.to_string() })?;
    case.note_right(digest, telling);
    Ok(())
}

/// The rows of each output one behind the other, from its memory.
fn rows<'a>(spec: &BoundSpec, case: &PreparedCase, outputs: &'a [ByteBuf]) -> Vec<Cow<'a, [u8]>> {
    let rows = |arg: &Arg| spec.rows(arg, &case.case.sizes);
    let outputs = spec.outputs().zip(outputs);
    outputs.map(|((_, arg), memory)| rows(arg).gather(memory.as_slice(), arg.dtype.size())).collect()
}

/// Compares the outputs of two runs on the same inputs, where the spec lets them differ: as far as each may be from what
/// is right, they may be from each other.
fn near(spec: &BoundSpec, case: &PreparedCase, first: &[ByteBuf], second: &[ByteBuf]) -> Result<(), Reason> {
    let ready = case.ready(spec).map_err(|message| broken(message.to_owned()))?;
    let (first, second) = (rows(spec, case, first), rows(spec, case, second));
    let mut expected = BTreeMap::new();
    for ((id, arg), bytes) in spec.outputs().zip(&first) {
        let mut values = Vec::new();
        arg.dtype.decode(bytes, &mut values);
        expected.insert(id, values);
    }
    let mut bounds: Tolerances = ready.tolerances.clone();
    // Both were rounded to the dtype, so a difference beyond one rounding is no sign of anything.
    bounds.0.values_mut().for_each(|bound| bound.beyond_rounding = None);
    let slices: Vec<&[u8]> = second.iter().map(AsRef::as_ref).collect();
    compare::compare(spec, &case.case, &Outputs(expected), &slices, &bounds)
        .map(|_| ())
        .map_err(|mismatch| Reason::Unsteady { sizes: case.label.clone(), message: mismatch.to_string() })
}
