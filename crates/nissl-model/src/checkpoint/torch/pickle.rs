//! A pickle machine that executes nothing: from the instructions of a pickle to plain values.
//!
//! A pickle is a program for a stack machine that may name any function of Python and call it. Here the names that
//! are known are those of [`Global`]: to name any other refuses the file, with that name. What they make is data:
//! dictionaries, tuples, tensors that say where their numbers lie.
//!
//! Memory stays in proportion to the file: an instruction makes at most one value besides those it was given, values
//! are handles into one arena (so a cycle or a value that is used a million times costs nothing), and their number is
//! limited. Nothing here recurses.

use std::collections::BTreeMap;

use super::super::Dtype;

/// The most values that are made: a model of 100,000 tensors needs about two million.
const MAX_VALUES: usize = 1 << 23;

/// Why a pickle is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It calls something that is not known, by this name.
    Refused(String),
    /// It breaks the format, or is none of PyTorch's: expected and got.
    Malformed(String, String),
}

fn fault<T>(expected: impl Into<String>, got: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(expected.into(), got.into()))
}

/// The names of Python that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Device,
    Storage(Dtype),
    NumberFormat,
}

impl Global {
    fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch", "Size") => Self::Size,
            ("torch", "device") => Self::Device,
            ("torch", "float32" | "float16" | "bfloat16" | "float64") => Self::NumberFormat,
            ("torch" | "torch.cuda" | "torch.storage", _) => Self::Storage(Dtype::parse(match name {
                "FloatStorage" => "F32",
                "HalfStorage" => "F16",
                "BFloat16Storage" => "BF16",
                "DoubleStorage" => "F64",
                "LongStorage" => "I64",
                "IntStorage" => "I32",
                "ShortStorage" => "I16",
                "CharStorage" => "I8",
                "ByteStorage" => "U8",
                "BoolStorage" => "BOOL",
                _ => return None,
            })?),
            _ => return None,
        })
    }
}

/// A value, or a handle to where its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    List(usize),
    Tuple(usize),
    /// Keys and values by turns.
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
    /// Something that no weight needs: a float, a long number, bytes.
    Other,
}

/// Numbers in the file, by the key under which it holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    /// How many numbers there are under the key.
    pub(super) len: usize,
    /// The first number that belongs to this storage, and how many do.
    pub(super) view: (usize, usize),
}

/// A tensor as the pickle describes it; nothing is checked against the file yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) storage: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) root: Value<'a>,
    /// The parts of lists, tuples and dictionaries.
    pub(super) nodes: Vec<Vec<Value<'a>>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Tensor>,
    /// Bytes that it took.
    pub(super) len: usize,
}

/// Runs a pickle that `bytes` begin with.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        nodes: Vec::new(),
        storages: Vec::new(),
        tensors: Vec::new(),
        n_values: 0,
    };
    while machine.step()? {}
    let root = machine.pop()?;
    let Machine { at, nodes, storages, tensors, .. } = machine;
    Ok(Pickle { root, nodes, storages, tensors, len: at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Where the marks lie on the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value<'a>>,
    nodes: Vec<Vec<Value<'a>>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor>,
    n_values: usize,
}

impl<'a> Machine<'a> {
    /// One instruction; false after the last.
    fn step(&mut self) -> Result<bool, Fault> {
        let at = self.at;
        let [op] = self.array()?;
        match op {
            b'.' => return Ok(false),
            // Protocol; frame.
            0x80 => drop(self.array::<1>()?),
            0x95 => drop(self.array::<8>()?),

            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let [value] = self.array()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            0x8a => {
                let [len] = self.array()?;
                let value = long(self.take(len.into())?);
                self.push(value)?;
            }
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Other)?;
            }
            // Text, with its length in 1, 4 or 8 bytes.
            b'U' | 0x8c => {
                let [len] = self.array()?;
                self.text(len.into())?;
            }
            b'T' | b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.text(len.into())?;
            }
            0x8d => {
                let len = u64::from_le_bytes(self.array()?);
                self.text(len)?;
            }
            // Bytes, likewise.
            b'C' => {
                let [len] = self.array()?;
                self.other(len.into())?;
            }
            b'B' => {
                let len = u32::from_le_bytes(self.array()?);
                self.other(len.into())?;
            }
            0x8e => {
                let len = u64::from_le_bytes(self.array()?);
                self.other(len)?;
            }

            b'(' => {
                self.count(1)?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b']' => self.push_node(Vec::new(), Value::List)?,
            b')' => self.push_node(Vec::new(), Value::Tuple)?,
            b'}' => self.push_node(Vec::new(), Value::Dict)?,
            b'l' => self.collect(Value::List)?,
            b't' => self.collect(Value::Tuple)?,
            0x85..=0x87 => {
                let n = usize::from(op - 0x84);
                let parts = self.pop_many(n)?;
                self.push_node(parts, Value::Tuple)?;
            }
            b'a' => {
                let parts = self.pop_many(1)?;
                self.extend(parts, false)?;
            }
            b'e' => {
                let parts = self.pop_to_mark()?;
                self.extend(parts, false)?;
            }
            b's' => {
                let parts = self.pop_many(2)?;
                self.extend(parts, true)?;
            }
            b'u' => {
                let parts = self.pop_to_mark()?;
                self.extend(parts, true)?;
            }

            b'q' => {
                let [key] = self.array()?;
                self.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [key] = self.array()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let [module, name] = self.pop_array()?;
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return fault("the name of a function as text", format!("{} and {}", module.kind(), name.kind()));
                };
                self.global(module, name)?;
            }
            b'R' | 0x81 => {
                let [function, arguments] = self.pop_array()?;
                self.call(function, arguments)?;
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                return Err(Fault::Refused(format!("{}.{}", shown(module), shown(name))));
            }
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.persistent(id)?;
            }
            _ => {
                let expected = "an instruction that PyTorch writes";
                return fault(expected, format!("{op:#04x} at byte {at}"));
            }
        }
        Ok(true)
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Fault> {
        let left = self.bytes.len() - self.at;
        if n > left as u64 {
            return fault(format!("{n} bytes from byte {} on", self.at), left.to_string());
        }
        let taken = &self.bytes[self.at..][..n as usize];
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.take(N as u64)?.try_into().expect("as many as were asked for"))
    }

    /// Up to the end of the line.
    fn line(&mut self) -> Result<&'a str, Fault> {
        /// The longest name of a module or function that is looked at.
        const LONGEST: usize = 256;
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().take(LONGEST).position(|&byte| byte == b'\n') else {
            return fault("the name of a function", format!("no end of a line from byte {} on", self.at));
        };
        self.at += len + 1;
        match std::str::from_utf8(&rest[..len]) {
            Ok(line) => Ok(line),
            Err(_) => fault("a name in UTF-8", format!("other bytes before byte {}", self.at)),
        }
    }

    /// Counts values that are about to be made.
    fn count(&mut self, n: usize) -> Result<(), Fault> {
        self.n_values += n;
        if self.n_values > MAX_VALUES {
            return fault(format!("at most {MAX_VALUES} values"), "more");
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Fault> {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, len: u64) -> Result<(), Fault> {
        let at = self.at;
        match std::str::from_utf8(self.take(len)?) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => fault("text in UTF-8", format!("other bytes at byte {at}")),
        }
    }

    fn other(&mut self, len: u64) -> Result<(), Fault> {
        self.take(len)?;
        self.push(Value::Other)
    }

    /// Values above the last mark may be taken, none below it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop_many(&mut self, n: usize) -> Result<Vec<Value<'a>>, Fault> {
        let left = self.stack.len() - self.floor();
        if n > left {
            return fault(format!("{n} values on the stack before byte {}", self.at), left.to_string());
        }
        Ok(self.stack.split_off(self.stack.len() - n))
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Value<'a>; N], Fault> {
        Ok(self.pop_many(N)?.try_into().expect("as many as were asked for"))
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        let [value] = self.pop_array()?;
        Ok(value)
    }

    fn top(&self) -> Result<Value<'a>, Fault> {
        match self.stack[self.floor()..].last() {
            Some(value) => Ok(*value),
            None => fault(format!("a value on the stack before byte {}", self.at), "none"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => fault(format!("a mark on the stack before byte {}", self.at), "none"),
        }
    }

    fn push_node(&mut self, parts: Vec<Value<'a>>, make: fn(usize) -> Value<'a>) -> Result<(), Fault> {
        self.nodes.push(parts);
        self.push(make(self.nodes.len() - 1))
    }

    fn collect(&mut self, make: fn(usize) -> Value<'a>) -> Result<(), Fault> {
        let parts = self.pop_to_mark()?;
        self.push_node(parts, make)
    }

    /// Adds to the list or dictionary on top of the stack.
    fn extend(&mut self, parts: Vec<Value<'a>>, pairs: bool) -> Result<(), Fault> {
        let node = match (self.top()?, pairs) {
            (Value::List(node), false) => node,
            (Value::Dict(node), true) if parts.len().is_multiple_of(2) => node,
            (Value::Dict(_), true) => return fault("a value for every key", "a key without one"),
            (other, _) => return fault(if pairs { "a dictionary" } else { "a list" }, other.kind()),
        };
        self.nodes[node].extend(parts);
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), Fault> {
        self.count(1)?;
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Fault> {
        match self.memo.get(&key) {
            Some(&value) => self.push(value),
            None => fault("a value that was put aside", format!("number {key}, which was not")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        // What Python 2 calls the same.
        let module = if module == "__builtin__" { "builtins" } else { module };
        match Global::find(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(Fault::Refused(format!("{}.{}", shown(module), shown(name)))),
        }
    }

    /// Makes what a known function would make.
    fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<(), Fault> {
        let Value::Tuple(arguments) = arguments else {
            return fault("arguments as a tuple", arguments.kind());
        };
        let Value::Global(function) = function else {
            return fault("a function to call", function.kind());
        };
        let arguments = &self.nodes[arguments];
        match (function, &arguments[..]) {
            (Global::OrderedDict, []) => self.push_node(Vec::new(), Value::Dict),
            (Global::OrderedDict, &[Value::List(list)]) => {
                let mut parts = Vec::new();
                for pair in &self.nodes[list] {
                    match pair {
                        Value::List(pair) | Value::Tuple(pair) if self.nodes[*pair].len() == 2 => {
                            parts.extend_from_slice(&self.nodes[*pair]);
                        }
                        _ => return fault("pairs of key and value", pair.kind()),
                    }
                }
                // The only values that are made again: they must be counted again.
                self.count(parts.len())?;
                self.push_node(parts, Value::Dict)
            }
            (Global::RebuildTensor, &[Value::Storage(storage), Value::Int(offset), shape, strides, ..]) => {
                let tensor =
                    Tensor { storage, offset: size(offset)?, shape: self.sizes(shape)?, strides: self.sizes(strides)? };
                if tensor.shape.len() != tensor.strides.len() {
                    let expected = format!("{} strides for a tensor", tensor.shape.len());
                    return fault(expected, tensor.strides.len().to_string());
                }
                self.count(2 * tensor.shape.len())?;
                self.tensors.push(tensor);
                self.push(Value::Tensor(self.tensors.len() - 1))
            }
            (Global::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => self.push(tensor),
            (Global::Size, &[sizes @ Value::Tuple(_)]) => self.push(sizes),
            (Global::Device, _) => self.push(Value::Other),
            _ => {
                let got: Vec<&str> = arguments.iter().take(8).map(Value::kind).collect();
                fault(format!("arguments that {function:?} takes"), format!("({})", got.join(", ")))
            }
        }
    }

    /// Attributes of a dictionary, tensor or parameter: nothing that a weight needs.
    fn build(&mut self) -> Result<(), Fault> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) | Value::Tensor(_) => Ok(()),
            other => fault("a dictionary or tensor to set attributes of", other.kind()),
        }
    }

    /// `("storage", type, key, device, length)`, in old files with `(key, offset, length)` of a part or nothing.
    fn persistent(&mut self, id: Value<'a>) -> Result<(), Fault> {
        let Value::Tuple(parts) = id else {
            return fault("a tuple that names a storage", id.kind());
        };
        let (key, dtype, len, view) = match self.nodes[parts][..] {
            [Value::Text("storage"), Value::Global(Global::Storage(dtype)), Value::Text(key), _, Value::Int(len)] => {
                (key, dtype, len, Value::None)
            }
            [
                Value::Text("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                _,
                Value::Int(len),
                view,
            ] => (key, dtype, len, view),
            // The source text of a class, which is the caller's to define.
            [Value::Text("module"), ..] => return Err(Fault::Refused("a class of its own".to_owned())),
            ref parts => {
                let got: Vec<&str> = parts.iter().take(8).map(Value::kind).collect();
                return fault("type, key, device and length of a storage", format!("({})", got.join(", ")));
            }
        };
        let len = size(len)?;
        let view = match view {
            Value::None => (0, len),
            Value::Tuple(view) => match self.nodes[view][..] {
                [_, Value::Int(offset), Value::Int(len)] => (size(offset)?, size(len)?),
                _ => return fault("key, offset and length of a part of a storage", "other values"),
            },
            other => return fault("a part of a storage", other.kind()),
        };
        if view.0.checked_add(view.1).is_none_or(|end| end > len) {
            return fault(format!("a part of a storage of {len} numbers"), format!("{} from {} on", view.1, view.0));
        }
        self.storages.push(Storage { key, dtype, len, view });
        self.push(Value::Storage(self.storages.len() - 1))
    }

    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>, Fault> {
        /// As many dimensions as PyTorch allows.
        const MAX_DIMS: usize = 64;
        let (Value::Tuple(parts) | Value::List(parts)) = value else {
            return fault("sizes as a tuple", value.kind());
        };
        let parts = &self.nodes[parts];
        if parts.len() > MAX_DIMS {
            return fault(format!("at most {MAX_DIMS} dimensions"), parts.len().to_string());
        }
        let one = |part: &Value<'a>| match part {
            Value::Int(value) => size(*value),
            other => fault("a whole number as size", other.kind()),
        };
        parts.iter().map(one).collect()
    }
}

impl Value<'_> {
    /// What it is, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a function",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Other => "another value",
        }
    }
}

fn size(value: i64) -> Result<usize, Fault> {
    usize::try_from(value).or_else(|_| fault("a size of 0 or more", value.to_string()))
}

/// A number of any length, least byte first, the last one with the sign.
fn long(bytes: &[u8]) -> Value<'static> {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let fill = if bytes.last().is_some_and(|&byte| byte >= 128) { 255 } else { 0 };
    let mut all = [fill; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(all))
}

/// A name as errors may show it: the file chose it.
fn shown(name: &str) -> String {
    const SHOWN: usize = 80;
    name.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}
