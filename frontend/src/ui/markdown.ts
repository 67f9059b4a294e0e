/** Markdown of models as safe HTML: no scripts, no images, no links but to the web, no forms. */
import DOMPurify from "dompurify";
import { Marked } from "marked";

const ALLOWED =
  "p br hr em strong del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td a".split(" ");

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => ENTITIES[sign] ?? sign);
}

/** HTML that a model wrote is shown as the text it is, and an image as its description: nothing is dropped unseen,
 * and the sanitiser's parser never meets a handler (Chromium reports one even in an inert document). */
const dialect = new Marked({
  gfm: true,
  async: false,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ text, href }) => escaped(text === "" ? href : `${text} (${href})`),
  },
});

export function markdown(text: string): string {
  const clean = DOMPurify.sanitize(dialect.parse(text, { async: false }), {
    ALLOWED_TAGS: ALLOWED,
    ALLOWED_ATTR: ["href"],
    ALLOWED_URI_REGEXP: /^https?:/i,
  });
  return clean.replaceAll("<a ", '<a rel="noopener noreferrer nofollow" target="_blank" ');
}
