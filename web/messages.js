// What LIVE's nodes say, in the language of the page. English is what is sent, logged and kept in the history; a page
// in Chinese shows the Chinese of web/zh/messages.json, wherever the page shows what was sent: it is changed before any
// listener has it.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { namesOf, translator } from "./catalogue.js";

let translate = null; // while the page is not in English

export function isChinese() {
  return app.extensionManager.setting.get("Comfy.Locale").startsWith("zh");
}

// A file of web/zh.
export async function translations(file) {
  return (await fetch(new URL(`zh/${file}.json`, import.meta.url))).json();
}

let names; // of LIVE's nodes and inputs, by their ids

export function namesInChinese() {
  return (names ??= readNames());
}

async function readNames() {
  const { nodeDefs } = (await (await api.fetchApi("/i18n")).json()).zh;
  return namesOf(Object.fromEntries(Object.entries(nodeDefs).filter(([id]) => id.startsWith("LIVE_"))));
}

// The node of an id that the server gives, which for one inside subgraphs names those too: "7:3".
export function nodeOf(id) {
  let node;
  let graph = app.graph;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part);
    graph = node?.subgraph;
  }
  return node;
}

const CHANGES = {
  execution_error(detail) {
    if (detail.exception_type === "LiveError")
      detail.exception_message = translate(detail.exception_message.trim());
  },

  progress_text(detail) {
    if (!nodeOf(detail.nodeId)?.type.startsWith("LIVE_")) return;
    const text = detail.text.replaceAll("<\u2060", "<"); // as nodes/host/page.py sends "<"
    const said = text.replace(/^(\u26a0 )?(.*)$/gm, (_, mark, line) => (mark ?? "") + translate(line));
    detail.text = said.replaceAll("<", "<\u2060");
  },
};

app.registerExtension({
  name: "LIVE.Messages",

  // Also when the language was changed, since the page then loads its graph anew.
  async beforeConfigureGraph() {
    if (!isChinese()) translate = null;
    if (!isChinese() || translate) return;
    translate = translator(...(await Promise.all([translations("messages"), namesInChinese()])));
  },

  setup() {
    const { dispatchCustomEvent } = api;
    api.dispatchCustomEvent = function (kind, detail) {
      if (translate) CHANGES[kind]?.(detail);
      return dispatchCustomEvent.call(this, kind, detail);
    };
  },
});
