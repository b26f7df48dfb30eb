// node-redlock over ioredis: one lock and unlock after the other. Modules are found through NODE_PATH.
"use strict";
const Redis = require("ioredis");
const Redlock = require("redlock");

const clients = process.env.REDLOCK_NODES.split(",").map((url) => new Redis(url));
const redlock = new Redlock(clients);
const pair = async () => (await redlock.lock("bench/n/0000", 30000)).unlock();

async function main() {
  for (let i = 0; i < 200; i++) await pair();
  const samples = [];
  const began = process.hrtime.bigint();
  const end = began + BigInt(Math.round(process.env.PEER_SECONDS * 1e9));
  let now = began;
  while (now < end) {
    await pair();
    const after = process.hrtime.bigint();
    samples.push(Number(after - now) / 1e3);
    now = after;
  }
  samples.sort((a, b) => a - b);
  const line = [
    samples.length / (Number(now - began) / 1e9),
    samples[Math.floor(samples.length / 2)],
    samples[Math.floor(((samples.length - 1) * 99) / 100)],
  ];
  console.log(["redlock 4.2.0 (Node)", ...line.map((x) => x.toFixed(1))].join("\t"));
  clients.forEach((client) => client.disconnect());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
