//! What sets the tokenizers of a class apart that are made from sentencepiece models.

use crate::tokenizer::folder::Convention;
use crate::tokenizer::tokens::{Around, Role, role};

/// What sets the tokenizers of a class apart.
pub(in crate::tokenizer) struct Rules {
    pub(in crate::tokenizer) special: &'static [Role],
    pub(in crate::tokenizer) around: Around,
    pub(in crate::tokenizer) numbers: Numbers,
    pub(in crate::tokenizer) folded: Folded,
}

/// Which numbers the pieces have in a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::tokenizer) enum Numbers {
    /// Those of the file.
    Own,
    /// Those of the file, then tokens for blanks, the last first.
    Blanks,
    /// Those of the file, then these special tokens, where it lacks them.
    Behind(&'static [&'static str]),
    /// Special tokens first, the file's pieces from one on, then special tokens.
    Between { first: &'static [&'static str], from: usize, last: &'static [&'static str] },
    /// Those of another file: pieces that stand for nothing in a text have none here.
    Elsewhere,
}

/// What is done with letters before what the file says.
#[derive(Clone, Copy)]
pub(in crate::tokenizer) struct Folded {
    /// Whether accents are taken off, unless a setting says otherwise, quotes become one sign, and numbers before a comma
    /// are kept apart from it.
    pub(in crate::tokenizer) accents: bool,
    /// Whether letters are made small, unless a setting says otherwise; none where no setting counts.
    pub(in crate::tokenizer) small: Option<bool>,
}

impl Folded {
    pub(in crate::tokenizer) const NO: Self = Self { accents: false, small: None };
}

const USUAL: &[Role] = &[role("bos_token", "<s>"), role("eos_token", "</s>"), role("unk_token", "<unk>")];

/// Those of fairseq.
const FAIRSEQ: [Role; 7] = [
    role("bos_token", "<s>"),
    role("eos_token", "</s>"),
    role("sep_token", "</s>"),
    role("cls_token", "<s>"),
    role("unk_token", "<unk>"),
    role("pad_token", "<pad>"),
    Role { role: "mask_token", content: "<mask>", spaces: (true, false) },
];

/// Those of fairseq's translators, whose texts say what language they are in.
const TRANSLATED: &[Role] = &{
    let [bos, eos, sep, cls, unk, pad, mask] = FAIRSEQ;
    [bos, eos, sep, cls, unk, pad, mask, role("src_lang", "en_XX")]
};

/// The first tokens of fairseq, in place of the file's first three.
const FIRST: &[&str] = &["<s>", "<pad>", "</s>", "<unk>"];

/// The languages of mBART, and the mask.
const MBART: &[&str] = &[
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX",
    "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN",
    "zh_CN", "<mask>",
];

/// Those of its later form.
const MBART50: &[&str] = &[
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX",
    "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN",
    "zh_CN", "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK", "ml_IN",
    "mn_MN", "mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA",
    "ur_PK", "xh_ZA", "gl_ES", "sl_SI", "<mask>",
];

pub(super) const CONVENTIONS: &[Convention<Rules>] = &[
    Convention {
        classes: &[],
        model_types: &["lstm"],
        rules: Rules { special: USUAL, around: Around::flags(false, false), numbers: Numbers::Own, folded: Folded::NO },
    },
    Convention {
        classes: &["LlamaTokenizer", "CodeLlamaTokenizer"],
        model_types: &["llama", "mistral"],
        rules: Rules { special: USUAL, around: Around::flags(true, false), numbers: Numbers::Own, folded: Folded::NO },
    },
    Convention {
        classes: &["GemmaTokenizer"],
        model_types: &["gemma", "gemma2", "gemma3_text"],
        rules: Rules {
            special: &[
                role("bos_token", "<bos>"),
                role("eos_token", "<eos>"),
                role("unk_token", "<unk>"),
                role("pad_token", "<pad>"),
            ],
            around: Around::flags(true, false),
            numbers: Numbers::Own,
            folded: Folded::NO,
        },
    },
    Convention {
        classes: &["T5Tokenizer"],
        model_types: &["t5", "mt5", "umt5"],
        rules: Rules {
            special: &[role("eos_token", "</s>"), role("unk_token", "<unk>"), role("pad_token", "<pad>")],
            around: Around::END,
            numbers: Numbers::Blanks,
            folded: Folded::NO,
        },
    },
    Convention {
        classes: &["XLMRobertaTokenizer"],
        model_types: &["xlm-roberta"],
        rules: Rules {
            special: &FAIRSEQ,
            around: Around::CLASS,
            numbers: Numbers::Between { first: FIRST, from: 3, last: &["<mask>"] },
            folded: Folded::NO,
        },
    },
    Convention {
        classes: &["CamembertTokenizer"],
        model_types: &["camembert"],
        rules: Rules {
            special: &FAIRSEQ,
            around: Around::CLASS,
            numbers: Numbers::Between {
                first: &["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"],
                from: 1,
                last: &["<mask>"],
            },
            folded: Folded::NO,
        },
    },
    Convention {
        classes: &["MBartTokenizer"],
        model_types: &["mbart"],
        rules: Rules {
            special: TRANSLATED,
            around: Around::always(None, [Some("eos_token"), Some("src_lang")]),
            numbers: Numbers::Between { first: FIRST, from: 3, last: MBART },
            folded: Folded::NO,
        },
    },
    Convention {
        classes: &["MBart50Tokenizer"],
        model_types: &[],
        rules: Rules {
            special: TRANSLATED,
            around: Around::always(Some("src_lang"), [Some("eos_token"), None]),
            numbers: Numbers::Between { first: FIRST, from: 3, last: MBART50 },
            folded: Folded::NO,
        },
    },
    Convention {
        classes: &["AlbertTokenizer"],
        model_types: &["albert"],
        rules: Rules {
            special: &[
                role("bos_token", "[CLS]"),
                role("eos_token", "[SEP]"),
                role("sep_token", "[SEP]"),
                role("cls_token", "[CLS]"),
                role("unk_token", "<unk>"),
                role("pad_token", "<pad>"),
                Role { role: "mask_token", content: "[MASK]", spaces: (true, false) },
            ],
            around: Around::CLASS,
            numbers: Numbers::Own,
            folded: Folded { accents: true, small: Some(true) },
        },
    },
    Convention {
        classes: &["DebertaV2Tokenizer"],
        model_types: &["deberta-v2"],
        rules: Rules {
            special: &[
                role("bos_token", "[CLS]"),
                role("eos_token", "[SEP]"),
                role("sep_token", "[SEP]"),
                role("cls_token", "[CLS]"),
                role("unk_token", "[UNK]"),
                role("pad_token", "[PAD]"),
                role("mask_token", "[MASK]"),
            ],
            around: Around::CLASS,
            numbers: Numbers::Behind(&["[MASK]"]),
            folded: Folded { accents: false, small: Some(false) },
        },
    },
    Convention {
        classes: &["XLNetTokenizer"],
        model_types: &["xlnet"],
        rules: Rules {
            special: &[
                role("bos_token", "<s>"),
                role("eos_token", "</s>"),
                role("sep_token", "<sep>"),
                role("cls_token", "<cls>"),
                role("unk_token", "<unk>"),
                role("pad_token", "<pad>"),
                Role { role: "mask_token", content: "<mask>", spaces: (true, false) },
            ],
            around: Around::always(None, [Some("sep_token"), Some("cls_token")]),
            numbers: Numbers::Own,
            folded: Folded { accents: true, small: Some(false) },
        },
    },
];
