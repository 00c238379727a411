// OpenAI's SDK for Node: what a program sees of headrace. Arguments: the URL, the models.
import OpenAI from "openai";

const [url, ...models] = process.argv.slice(1);
let model;
let seen;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "client-key", maxRetries: 0 });
const messages = [{ role: "user", content: "Which word?" }];
const parameters = { type: "object", properties: { word: { type: "string" } }, required: ["word"], additionalProperties: false };

const textOf = async (stream) => {
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  return text;
};

async function chat() {
  const tools = [{ type: "function", function: { name: "look_up", parameters } }];
  seen.chat = (await client.chat.completions.create({ model, messages })).choices[0].message.content;
  seen["chat stream"] = await textOf(await client.chat.completions.create({ model, messages, stream: true }));
  const asked = (await client.chat.completions.stream({ model, messages, tools }).finalChatCompletion()).choices[0].message;
  seen["chat tools"] = asked.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments).word]);
  const found = asked.tool_calls.map((c) => ({ role: "tool", tool_call_id: c.id, content: "found" }));
  const told = { model, messages: [...messages, asked, ...found], tools };
  seen["chat after tools"] = (await client.chat.completions.create(told)).choices[0].message.content;
  const response_format = { type: "json_schema", json_schema: { name: "word", schema: parameters } };
  seen["chat parsed"] = (await client.chat.completions.parse({ model, messages, response_format })).choices[0].message.content;
  const { response } = await client.chat.completions.create({ model, messages }).withResponse();
  seen["raw header"] = response.headers.get("x-headrace-backend");
}

async function responses() {
  const tools = [{ type: "function", name: "look_up", parameters, strict: false }];
  seen.responses = (await client.responses.create({ model, input: "Which word?" })).output_text;
  const final = await client.responses.stream({ model, input: "Which word?" }).finalResponse();
  seen["responses stream"] = final.output_text;
  const asked = await client.responses.create({ model, input: messages, tools });
  const calls = asked.output.filter((item) => item.type === "function_call");
  seen["responses tools"] = calls.map((c) => [c.name, JSON.parse(c.arguments).word]);
  const input = calls.map((c) => ({ type: "function_call_output", call_id: c.call_id, output: "found" }));
  const told = { model, previous_response_id: asked.id, input, tools };
  seen["responses after tools"] = (await client.responses.create(told)).output_text;
}

async function others() {
  seen.models = (await client.models.list()).data.some((found) => found.id === model);
  const vectors = await client.embeddings.create({ model, input: ["a", "b"] }).catch((error) => error.message);
  seen.embeddings = vectors.data?.map((vector) => vector.embedding.length) ?? vectors;
}

async function broken(fault) {
  const headers = { "x-headrace-emulated-fault": `${fault}@3` };
  const told = (error) => error.constructor.name;
  const chat = client.chat.completions.create({ model, messages, stream: true }, { headers });
  const inChat = await chat.then(textOf).then(() => "whole", told);
  const response = client.responses.stream({ model, input: "Which word?" }, { headers }).finalResponse();
  return { chat: inChat, responses: await response.then((final) => final.status, told) };
}

const found = {};
for (model of models) {
  seen = {};
  await chat();
  await responses();
  await others();
  found[model] = { seen, broken: { cut: await broken("cut"), polite: await broken("polite") } };
}
console.log(JSON.stringify(found));
