// Copying, and the word that says it was done.

class Note {
  text = $state('');
  private clock = 0;

  say(text: string) {
    this.text = text;
    clearTimeout(this.clock);
    this.clock = window.setTimeout(() => (this.text = ''), 2000);
  }
}

/** A short word in the corner of the page. */
export const note = new Note();

export async function copy(text: string, done: string) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages without TLS on another host have no clipboard of their own.
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  note.say(done);
}
