//! Text that has no templates: what makes a clustered split weak.

use crate::chance::Chance;

/// Distinct names.
const NAMES: usize = 20_000;
/// Distinct words of free sentences.
const WORDS: usize = 50_000;
const CODE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FRAMES: [&str; 8] = [
    "java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:",
    "org.springframework.web.servlet.DispatcherServlet.doDispatch(DispatcherServlet.java:",
    "com.example.billing.InvoiceService.charge(InvoiceService.java:",
    "com.example.billing.LedgerClient.post(LedgerClient.java:",
    "io.netty.channel.nio.NioEventLoop.processSelectedKey(NioEventLoop.java:",
    "org.hibernate.internal.SessionImpl.fireLoad(SessionImpl.java:",
    "sun.reflect.GeneratedMethodAccessor.invoke(Unknown Source:",
    "java.lang.Thread.run(Thread.java:",
];

#[derive(Debug)]
pub(super) struct Hostile {
    names: Vec<String>,
    words: Vec<String>,
}

fn letters(chance: &mut Chance, least: u64, most: u64) -> String {
    let count = least + chance.below(most - least + 1);
    let letter = |_| char::from(b'a' + u8::try_from(chance.below(26)).unwrap());
    (0..count).map(letter).collect()
}

impl Hostile {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let names = (0..NAMES).map(|_| letters(chance, 4, 10)).collect();
        let words = (0..WORDS).map(|_| letters(chance, 3, 11)).collect();
        Self { names, words }
    }

    /// Goes on with the message of a plain record, in some of them.
    pub(super) fn write(&self, chance: &mut Chance, out: &mut Vec<u8>) {
        match chance.below(20) {
            0..4 => {
                out.extend_from_slice(b" session=");
                out.extend_from_slice(letters(chance, 12, 16).as_bytes());
            }
            4..6 => {
                out.extend_from_slice(b" owner ");
                out.extend_from_slice(chance.one_of(&self.names).as_bytes());
            }
            6..8 => {
                for _ in 0..20 + chance.below(60) {
                    out.push(b' ');
                    let place = usize::try_from(chance.skewed(WORDS as u64)).unwrap();
                    out.extend_from_slice(self.words[place].as_bytes());
                }
            }
            8 => {
                for _ in 0..8 + chance.below(16) {
                    let line = format!("\n\tat {}{})", chance.one_of(&FRAMES), chance.skewed(900));
                    out.extend_from_slice(line.as_bytes());
                }
            }
            9 => {
                out.extend_from_slice(b" payload ");
                for _ in 0..300 + chance.below(900) {
                    out.push(CODE[usize::try_from(chance.below(64)).unwrap()]);
                }
            }
            _ => {}
        }
    }
}
