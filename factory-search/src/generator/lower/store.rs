//! Stores of outputs.

use factory_ptx::builder::{B16, B32, B64, Pred, Reg};
use factory_spec::{ArgId, DType, NodeId, Role};

use super::{Lowering, Raw};
use crate::generator::kinds::Kind;
use crate::generator::split::Along;
use crate::generator::value::{self, Value};

impl Lowering<'_> {
    /// Stores the outputs that do not vary along the columns and become known at a level.
    pub(super) fn store_row_outputs(&mut self, level: usize) {
        let outputs: Vec<(ArgId, NodeId)> = self
            .source
            .program
            .outputs
            .iter()
            .copied()
            .filter(|(arg, node)| {
                self.source.split.tensor(*arg).along == Along::Same && self.source.kinds[*node].level == level
            })
            .collect();
        if outputs.is_empty() {
            return;
        }
        let shared_threads = self.config().threads > 1 || self.config().cluster > 1;
        if shared_threads
            && outputs.iter().any(|(arg, _)| self.source.spec.args[arg.index()].role == Role::InOut)
        {
            // Every thread of the row has read the old value before one writes the new one.
            if self.config().cluster > 1 {
                if self.awaits_cluster {
                    self.e.cluster_wait();
                    self.awaits_cluster = false;
                }
                self.e.cluster_arrive();
                self.e.cluster_wait();
            } else if self.source.split.reduces && self.config().threads > 32 {
                self.row_barrier();
            } else {
                self.e.barrier();
            }
        }
        for (arg, node) in outputs {
            let value = self.known[node.index()].expect("row values are computed before they are stored");
            let value = self.output_value(arg, node, value);
            let position = self.position.clone();
            let address = self.row_address(arg, &position);
            let allowed = self.allowed(arg, None, self.leader);
            let raw = self.pack(&[value], self.dtype(arg));
            self.store_raw(&raw, self.dtype(arg).size(), address, 0, allowed);
        }
    }

    /// Stores one vector of an output.
    pub(super) fn store_vector(&mut self, arg: ArgId, node: NodeId, chunk: u32) {
        let dtype = self.dtype(arg);
        let values: Vec<Value> = (0..self.config().vector)
            .map(|element| {
                let value = self.element(node, chunk, element);
                self.output_value(arg, node, value)
            })
            .collect();
        let allowed = self.allowed(arg, self.inside[chunk as usize], None);
        if self.source.split.tensor(arg).along == Along::Dense {
            let address = self.dense_address(arg);
            let offset = i64::from(chunk) * self.chunk_stride(arg);
            let raw = self.pack(&values, dtype);
            self.store_raw(&raw, values.len() * dtype.size(), address, offset, allowed);
        } else {
            for (element, value) in values.into_iter().enumerate() {
                let address = self.scattered_address(arg, chunk, element as u32);
                let raw = self.pack(&[value], dtype);
                self.store_raw(&raw, dtype.size(), address, 0, allowed);
            }
        }
    }

    /// The condition under which this thread stores.
    fn allowed(
        &mut self,
        arg: ArgId,
        inside: Option<Reg<Pred>>,
        leader: Option<Reg<Pred>>,
    ) -> Option<Reg<Pred>> {
        let mut conditions: Vec<Reg<Pred>> =
            [inside, leader, self.position.active].into_iter().flatten().collect();
        for index in self.source.split.tensor(arg).missing.clone() {
            // A row size that the output lacks: one of its rows writes.
            let index = self.position.indices[index];
            conditions.push(self.e.setp_s64("eq", index, 0i64));
        }
        let mut all: Option<Reg<Pred>> = None;
        for condition in conditions {
            all = Some(match all {
                None => condition,
                Some(all) => self.e.and_pred(all, condition),
            });
        }
        all
    }

    /// The value as the output's dtype wants it: a single, a double, or an integer within its limits.
    fn output_value(&mut self, arg: ArgId, node: NodeId, value: Value) -> Value {
        let dtype = self.dtype(arg);
        let info = self.source.kinds[node];
        if dtype.is_float() {
            return value.float(&mut self.e, self.floats);
        }
        match info.kind {
            Kind::Float => {
                let value = value.float(&mut self.e, self.floats);
                value::round_to_integer(&mut self.e, value, dtype)
            }
            Kind::Bool => value.to(&mut self.e, Kind::S32, self.floats),
            _ => value::saturate(&mut self.e, value, info.interval.expect("an integer has limits"), dtype),
        }
    }

    /// The bytes of a vector of values.
    fn pack(&mut self, values: &[Value], dtype: DType) -> Raw {
        let floats = self.floats;
        let e = &mut self.e;
        match dtype {
            DType::F64 => {
                let mut words = Vec::new();
                for value in values {
                    let Value::F64(value) = value.materialise(e) else { unreachable!("the output is f64") };
                    let value = e.copy(value);
                    let bits = e.bits_of_f64(value);
                    let (low, high) = e.split_b64(bits);
                    words.extend([low, high]);
                }
                Raw::Words(words)
            }
            DType::I64 => {
                let mut words = Vec::new();
                for value in values {
                    let Value::S64(value) = value.to(e, Kind::S64, floats) else {
                        unreachable!("the output is i64")
                    };
                    let value = e.copy::<B64>(value);
                    let (low, high) = e.split_b64(value);
                    words.extend([low, high]);
                }
                Raw::Words(words)
            }
            DType::F32 => Raw::Words(
                values
                    .iter()
                    .map(|value| {
                        let value = value.f32(e);
                        e.bits_of_f32(value)
                    })
                    .collect(),
            ),
            DType::I32 | DType::U32 => {
                Raw::Words(values.iter().map(|value| value.to(e, Kind::S32, floats).word(e)).collect())
            }
            DType::F16 | DType::BF16 => {
                let singles: Vec<_> = values.iter().map(|value| value.f32(e)).collect();
                if let [single] = singles[..] {
                    return Raw::Half(if dtype == DType::F16 {
                        e.f16_from_f32(single)
                    } else {
                        e.bf16_from_f32(single)
                    });
                }
                let format = if dtype == DType::F16 { "f16x2" } else { "bf16x2" };
                Raw::Words(singles.chunks(2).map(|pair| e.pack_half(format, pair[0], pair[1])).collect())
            }
            DType::F8E4M3 | DType::F8E5M2 => {
                let format = if dtype == DType::F8E4M3 { "e4m3x2" } else { "e5m2x2" };
                let singles: Vec<_> = values.iter().map(|value| value.f32(e)).collect();
                if let [single] = singles[..] {
                    return Raw::Half(e.pack_float8(format, single, 0.0f32));
                }
                let halves: Vec<Reg<B16>> =
                    singles.chunks(2).map(|pair| e.pack_float8(format, pair[0], pair[1])).collect();
                if let [half] = halves[..] {
                    return Raw::Half(half);
                }
                Raw::Words(halves.chunks(2).map(|pair| e.join_b32(pair[0], pair[1])).collect())
            }
            DType::I8 | DType::U8 => {
                let words: Vec<Reg<B32>> =
                    values.iter().map(|value| value.to(e, Kind::S32, floats).word(e)).collect();
                if words.len() == 1 {
                    return Raw::Half(e.u16_from_u32(words[0]));
                }
                // The low bytes of two words side by side, then of two such pairs.
                let pairs: Vec<Reg<B32>> =
                    words.chunks(2).map(|pair| e.prmt(pair[0], pair[1], 0x0040)).collect();
                if let [pair] = pairs[..] {
                    return Raw::Half(e.u16_from_u32(pair));
                }
                Raw::Words(pairs.chunks(2).map(|pair| e.prmt(pair[0], pair[1], 0x5410)).collect())
            }
        }
    }

    /// Stores `bytes` bytes.
    fn store_raw(
        &mut self,
        raw: &Raw,
        bytes: usize,
        address: Reg<B64>,
        offset: i64,
        allowed: Option<Reg<Pred>>,
    ) {
        let hint = self.config().store;
        let emit = |e: &mut factory_ptx::builder::Entry| match raw {
            Raw::Half(half) if bytes == 1 => e.store_global_byte(address, offset, *half, &hint),
            Raw::Half(half) => e.store_global(address, offset, *half, &hint),
            Raw::Words(words) => {
                for (piece, words) in words.chunks(4).enumerate() {
                    e.store_global_vector(address, offset + piece as i64 * 16, words, &hint);
                }
            }
        };
        match allowed {
            Some(allowed) => self.e.guarded(allowed, emit),
            None => emit(&mut self.e),
        }
    }
}
