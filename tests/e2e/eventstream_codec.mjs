// An event-stream codec that is not ours, for tests/local/bedrock/test_eventstream.py.
//
// Reads one JSON list on standard input, of {headers, payload, message}: header names and string
// values, the payload in base64, and our encoding of both in base64. Writes a list of
// {headers, payload, message}: what this codec decodes from our message, and its own encoding.
import { readFileSync } from "node:fs";
import { EventStreamCodec } from "@smithy/eventstream-codec";

const codec = new EventStreamCodec(
  (bytes) => new TextDecoder().decode(bytes),
  (text) => new TextEncoder().encode(text),
);
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const values = (headers) =>
  Object.fromEntries(Object.entries(headers).map(([name, { value }]) => [name, value]));
const strings = (headers) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, { type: "string", value }]));

const answers = JSON.parse(readFileSync(0, "utf8")).map(({ headers, payload, message }) => {
  const decoded = codec.decode(Buffer.from(message, "base64"));
  const encoded = codec.encode({ headers: strings(headers), body: Buffer.from(payload, "base64") });
  return { headers: values(decoded.headers), payload: base64(decoded.body), message: base64(encoded) };
});
process.stdout.write(JSON.stringify(answers));
