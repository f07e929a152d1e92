//! A QR code as inline SVG.

use std::fmt::Write as _;

use qrcode::types::QrError;
use qrcode::{Color, QrCode};

/// Modules of white that ISO/IEC 18004 demands around a code.
const QUIET_ZONE: usize = 4;

/// Draws the code for a text, one unit per module. `label` is what screen readers say, already escaped for HTML.
///
/// Errors when the text is too long for any QR code.
pub(crate) fn svg(text: &str, escaped_label: &str) -> Result<String, QrError> {
    let code = QrCode::new(text)?;
    let side = code.width() + 2 * QUIET_ZONE;
    let path = path(&code);
    Ok(format!(
        r##"<svg role="img" aria-label="{escaped_label}" viewBox="0 0 {side} {side}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{side}v{side}H0z"/><path fill="#000" d="{path}"/></svg>"##
    ))
}

/// One rectangle for every horizontal run of dark modules: a tenth of the size of one for each module.
fn path(code: &QrCode) -> String {
    let colors = code.to_colors();
    let mut path = String::new();
    for (y, row) in colors.chunks(code.width()).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] == Color::Dark {
                let (left, top, length) = (x + QUIET_ZONE, y + QUIET_ZONE, run.len());
                write!(path, "M{left} {top}h{length}v1h-{length}z").expect("a String takes everything");
            }
            x += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws what a path says into a grid.
    fn drawn(path: &str, width: usize) -> Vec<Color> {
        let mut grid = vec![Color::Light; width * width];
        for run in path.split('M').skip(1) {
            let (x, rest) = run.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (length, _) = rest.split_once('v').unwrap();
            let start = x.parse::<usize>().unwrap() - QUIET_ZONE;
            let row = (y.parse::<usize>().unwrap() - QUIET_ZONE) * width;
            grid[row + start..][..length.parse().unwrap()].fill(Color::Dark);
        }
        grid
    }

    #[test]
    fn the_drawing_is_the_code() {
        for text in ["x", "https://qr.alipay.com/bax00069q3tmwv0a7xyz0033", &"长".repeat(300)] {
            let code = QrCode::new(text).unwrap();
            assert_eq!(drawn(&path(&code), code.width()), code.to_colors(), "{text}");
        }
    }

    #[test]
    fn a_text_that_no_code_can_hold_is_an_error() {
        assert!(svg(&"x".repeat(3000), "code").is_err());
    }
}
