//! mbarrier objects.

use super::function::Decoder;
use super::memory::space;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::mbarrier::{Mbarrier, MbarrierKind, Order, Scope};
use crate::machine::inst::{Address, Kind, Space};
use crate::machine::lanes::{NONE, Slots};
use crate::machine::report::Class;

/// Takes `.cta`, `.cluster`, `.gpu`, `.sys`.
pub(super) fn scope(words: &mut Words<'_>) -> Option<Scope> {
    words
        .take_one(&["cta", "cluster", "gpu", "sys"])
        .map(|index| [Scope::Block, Scope::Cluster, Scope::Gpu, Scope::System][index])
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn mbarrier(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let operations = [
            "init",
            "inval",
            "expect_tx",
            "complete_tx",
            "arrive",
            "arrive_drop",
            "test_wait",
            "try_wait",
            "pending_count",
        ];
        // `.arrive.expect_tx` has two of these words: the first one says what is done.
        let Some(operation) = i.modifiers.first().and_then(|word| operations.iter().find(|op| *op == word))
        else {
            return Err(unsupported(i, "an operation on memory barriers"));
        };
        let _ = words.take(operation);
        let expects = words.take("expect_tx");
        let no_complete = words.take("noComplete");
        let parity = words.take("parity");
        let order = words.take_one(&["relaxed", "acquire", "release"]);
        let waits = matches!(*operation, "test_wait" | "try_wait");
        let transactions = matches!(*operation, "expect_tx" | "complete_tx");
        let order = match order {
            Some(0) => Order::Relaxed,
            Some(1) => Order::Acquire,
            Some(_) => Order::Release,
            None if waits => Order::Acquire,
            None if transactions => Order::Relaxed,
            None => Order::Release,
        };
        // Threads of other blocks that arrive or wait at an object do so with `.cta` in existing code: it counts as wide
        // enough.
        if scope(&mut words).is_some_and(|scope| scope > Scope::Cluster) {
            return Err(unsupported(i, "`.cta` or `.cluster`"));
        }
        let space = space(&mut words);
        if !matches!(space, Space::Generic | Space::Shared | Space::SharedCluster) {
            return Err(unsupported(i, "shared memory"));
        }
        if words.ty()? != Type::B64 {
            return Err(unsupported(i, "`.b64`"));
        }
        words.finish()?;
        let mut slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };
        let mut address = Address { base: NONE, wide: true, offset: 0 };
        let operands = i.operands.as_slice();
        let kind = match (*operation, operands) {
            ("init", [place, count]) => {
                address = self.address(i, place)?;
                slots.a = self.source(i, count, Type::B32)?;
                MbarrierKind::Init
            }
            ("inval", [place]) => {
                address = self.address(i, place)?;
                MbarrierKind::Inval
            }
            ("expect_tx" | "complete_tx", [place, bytes]) => {
                address = self.address(i, place)?;
                slots.a = self.source(i, bytes, Type::B32)?;
                if *operation == "expect_tx" {
                    MbarrierKind::ExpectTransactions
                } else {
                    MbarrierKind::CompleteTransactions
                }
            }
            ("arrive" | "arrive_drop", [state, place, rest @ ..]) if rest.len() <= 1 => {
                if *state != Operand::Discard {
                    if space == Space::SharedCluster {
                        return Err(unsupported(i, "`_`: a remote arrival returns no state"));
                    }
                    slots.d = self.dest(i, state, Type::B64)?;
                }
                address = self.address(i, place)?;
                match rest {
                    [bytes] if expects => slots.b = self.source(i, bytes, Type::B32)?,
                    [count] => slots.a = self.source(i, count, Type::B32)?,
                    _ if expects || no_complete => return Err(unsupported(i, "a count")),
                    _ => {}
                }
                MbarrierKind::Arrive { no_complete, drop: *operation == "arrive_drop" }
            }
            ("test_wait" | "try_wait", [done, place, wanted, hint @ ..]) => {
                let blocks = *operation == "try_wait";
                if hint.len() > usize::from(blocks) {
                    return Err(unsupported(i, "fewer operands"));
                }
                slots.d = self.predicate_dest(i, done)?;
                address = self.address(i, place)?;
                slots.a = self.source(i, wanted, if parity { Type::B32 } else { Type::B64 })?;
                MbarrierKind::Wait { parity, blocks }
            }
            ("pending_count", [count, state]) => {
                slots.d = self.dest(i, count, Type::B32)?;
                slots.a = self.source(i, state, Type::B64)?;
                MbarrierKind::PendingCount
            }
            _ => return Err(unsupported(i, "another number of operands")),
        };
        let op = Mbarrier { kind, space, address, order };
        self.emit(Class::Barrier, Kind::Mbarrier(Box::new(op)), slots);
        Ok(())
    }
}
