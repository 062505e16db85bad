//! Fields of configs that change no number of a forward pass, in any family: training, tokens, generation, versions.

/// Such fields, by their whole names.
const NAMES: &[&str] = &[
    // What the checkpoint is, and how it was written.
    "architectures",
    "attn_implementation",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "fp16",
    "id2label",
    "is_encoder_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "language",
    "model_type",
    "name_or_path",
    "num_labels",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "return_dict_in_generate",
    "task_specific_params",
    "finetuning_task",
    "tf_legacy_loss",
    "tie_weights_",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "note",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "transformers.js_config",
    "use_bfloat16",
    "use_cache",
    "cache_implementation",
    "vocab_list",
    // Training.
    "dropout",
    "dropout_rate",
    "gradient_checkpointing",
    "init_std",
    "layerdrop",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "use_liger_kernel",
    // Parts of BERT's first checkpoints that no code reads.
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    // How the time steps of state-space models begin to be trained.
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_max",
    "time_step_min",
    "time_step_scale",
    // What T5's feed_forward_proj says.
    "dense_act_fn",
    "is_gated_act",
    // Of heads that are not among ours.
    "summary_activation",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    // How texts are generated, where nobody says it.
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// How the names of such fields begin.
const BEGINS: &[&str] = &["_", "initializer_", "output_"];

/// How they end.
const ENDS: &[&str] = &["_drop", "_dropout", "_dropout_prob", "_layerdrop", "_pdrop", "_token_id", "_token_ids"];

/// Whether a field changes no number, whatever the family.
pub(super) fn is_harmless(field: &str) -> bool {
    NAMES.contains(&field)
        || BEGINS.iter().any(|begin| field.starts_with(begin))
        || ENDS.iter().any(|end| field.ends_with(end))
}
