//! Lets the program be built before its page: the folder of the page's files is there, and a
//! change in it is seen.

fn main() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist");
    if let Err(error) = std::fs::create_dir_all(dist) {
        println!("cargo::warning=the page's folder {dist} cannot be made: {error}");
    }
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=build.rs");
}
