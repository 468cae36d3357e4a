// Clients of Node.js, as people use them; what they were told is checked here, what is stored in node_client.py.

import assert from "node:assert/strict";
import { Client } from "@elastic/elasticsearch";
import { FluentClient } from "@fluent-org/logger";

const { URL: url, TOKEN, KEY, FLUENT_PORT } = process.env;
const orders = (count) =>
  Array.from({ length: count }, (_, number) => ({
    message: `order ${number} late`,
    level: "warn",
    number,
    shop: { name: "ä" },
  }));

async function elasticsearch() {
  const client = new Client({ node: `${url}/es`, auth: { apiKey: TOKEN } });
  assert.ok(await client.ping());
  assert.equal((await client.info()).tagline, "You Know, for Search");
  const told = await client.helpers.bulk({
    datasource: orders(249),
    onDocument: (document) => ({ create: { _index: "logs-node", _id: `id-${document.number}` } }),
  });
  assert.deepEqual([told.successful, told.failed], [249, 0]);
  const one = await client.index({ index: "logs-node", document: orders(250)[249] });
  assert.equal(one.result, "created");
  const found = await client.search({ index: "logs-node", query: { term: { number: 7 } } });
  assert.equal(found.hits.hits[0]._source.number, 7);
  await client.close();
}

async function fluent() {
  const client = new FluentClient("node", {
    socket: { host: "127.0.0.1", port: Number(FLUENT_PORT), timeout: 10_000 },
    security: { clientHostname: "web1", sharedKey: KEY },
    ack: { ackTimeout: 10_000 },
    eventMode: "PackedForward",
  });
  // Each is settled by the acknowledgement of its chunk.
  await Promise.all(orders(250).map((order) => client.emit("shop", order)));
  await client.disconnect();
}

await { elasticsearch, fluent }[process.argv[2]]();
