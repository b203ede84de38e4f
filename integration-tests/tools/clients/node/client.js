// client.js BOOTSTRAP TOPIC COUNT: kafkajs creates TOPIC (three partitions), produces COUNT records with gzip, consumes
// them in a group, commits, and prints "consumed COUNT committed COUNT". Anything else is an exit status of 1.
'use strict'
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const [bootstrap, topic, countText] = process.argv.slice(2)
const count = Number(countText)
const group = `${topic}-kafkajs`

async function main() {
  const kafka = new Kafka({ clientId: 'ottla-node', brokers: [bootstrap], logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 3, replicationFactor: 1 }] })

  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  const messages = Array.from({ length: count }, (_, i) => ({ key: `k${i}`, value: `v${i}`, headers: { n: `${i}` } }))
  await producer.send({ topic, compression: CompressionTypes.GZIP, messages })
  await producer.disconnect()

  const consumer = kafka.consumer({ groupId: group })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const seen = new Map()
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, (e) => reject(e.payload.error))
    consumer.run({
      eachMessage: async ({ message }) => {
        seen.set(message.key.toString(), message.value.toString())
        if (seen.size === count) resolve()
      },
    })
  })
  for (let i = 0; i < count; i++) {
    if (seen.get(`k${i}`) !== `v${i}`) throw new Error(`record ${i} is missing or wrong`)
  }
  // Leaving commits what was resolved.
  await consumer.disconnect()
  const offsets = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  const committed = offsets[0].partitions.reduce((sum, p) => sum + Math.max(0, Number(p.offset)), 0)
  await admin.disconnect()
  console.log(`consumed ${seen.size} committed ${committed}`)
}

const deadline = setTimeout(() => { console.error('client.js: no result after 40 s'); process.exit(1) }, 40000)
main().then(() => clearTimeout(deadline), (e) => { console.error('client.js:', e); process.exit(1) })
