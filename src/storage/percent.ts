/** Percent-encoding as the signatures of stores want it: all but `A–Z a–z 0–9 - . _ ~` as `%XX`. */

const PLAIN_PATH = /^[A-Za-z0-9\-._~/]*$/;

export function percentEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Slashes stay. What is encoded already is encoded once more and so stays part of the name: `%2F` is no slash. */
export function encodePath(path: string): string {
  return PLAIN_PATH.test(path) ? path : path.split('/').map(percentEncode).join('/');
}
