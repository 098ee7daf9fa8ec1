// A client with the wire behaviour of the LangChain sample's web client, which ?format=seed serves.
//
// Written from scratch after html/chat.js of github.com/kyopark2014/stream-chatbot-for-amazon-bedrock
// and of github.com/kyopark2014/korean-chatbot-using-amazon-bedrock. What it sends, how it parses
// frames, and its timers are theirs:
// - a pong is expected after one character, because their server sends it as a JSON text, in quotation
//   marks. Without one, the client reconnects 5 s after a ping; any other message must be JSON;
// - `msg` is the complete text so far, and replaces what was shown;
// - a client that never selected a user or a kind of conversation sends null.

const endpoint = new URLSearchParams(location.search).get("endpoint");
const log = document.getElementById("log");
const question = document.getElementById("question");

let socket;
let pongs = 0;
let overdue;

function connect() {
  socket = new WebSocket(endpoint);
  socket.onmessage = ({ data }) => {
    if (data.slice(1, 9) === "__pong__") {
      clearTimeout(overdue);
      document.body.dataset.pongs = ++pongs;
      return;
    }
    const { request_id, msg, status } = JSON.parse(data);
    if (!request_id) return;
    show(status === "error" ? `error-${request_id}` : request_id, msg).dataset.status = status;
  };
}

function show(id, text) {
  const shown = document.getElementById(id) ?? log.appendChild(document.createElement("li"));
  shown.id = id;
  shown.replaceChildren(...text.split("\n").flatMap((line) => [line, document.createElement("br")]).slice(0, -1));
  return shown;
}

function ask(body) {
  socket.send(
    JSON.stringify({
      user_id: localStorage.getItem("userId"),
      request_id: crypto.randomUUID(),
      request_time: new Date().toISOString().slice(0, 19).replace("T", " "),
      type: "text",
      body,
      convType: localStorage.getItem("convType"),
    }),
  );
}

connect();
socket.onopen = () => {
  document.body.dataset.connected = true;
  setInterval(() => {
    socket.send("__ping__");
    overdue = setTimeout(connect, 5000);
  }, 40_000);
};
question.onkeyup = ({ key }) => {
  if (key !== "Enter") return;
  ask(question.value);
  question.value = "";
};
