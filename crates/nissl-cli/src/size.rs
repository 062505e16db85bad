//! Sizes in bytes as people write them: `512MB`, `2GiB`.

/// Reads a size; K, M, G and T are powers of 1000, Ki, Mi, Gi and Ti of 1024.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1,
        "k" => 1000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => return Err(format!("expected a size such as 512MB or 2GiB, got {text}")),
    };
    let bytes = number.parse::<f64>().map_err(|_| format!("expected a size such as 512MB or 2GiB, got {text}"))?;
    Ok((bytes * factor as f64) as u64)
}

/// A size as people read it: `104.5 MB`.
pub(crate) fn show(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn sizes_are_shown_with_decimal_units() {
        assert_eq!([0, 999, 104_500_000, 1_500_000_000_000].map(show), ["0 B", "999 B", "104.5 MB", "1.5 TB"]);
    }

    #[test]
    fn sizes_are_read_with_decimal_and_binary_units() {
        for (text, bytes) in [("7", 7), ("512MB", 512_000_000), ("1.5 GiB", 3 << 29), ("4k", 4000), ("0", 0)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "5 parsecs", "1.2.3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
