/** Markdown of models as safe HTML: no scripts, no images, no links but to the web, no forms. */
import DOMPurify from "dompurify";
import { marked } from "marked";

const ALLOWED =
  "p br hr em strong del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td a".split(" ");

export function markdown(text: string): string {
  const clean = DOMPurify.sanitize(marked.parse(text, { async: false, gfm: true }), {
    ALLOWED_TAGS: ALLOWED,
    ALLOWED_ATTR: ["href"],
    ALLOWED_URI_REGEXP: /^https?:/i,
  });
  return clean.replaceAll("<a ", '<a rel="noopener noreferrer nofollow" target="_blank" ');
}
