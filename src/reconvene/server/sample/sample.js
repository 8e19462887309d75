let sessionId = localStorage.getItem('sessionId');
function connect() {
  const ws = new WebSocket('ws://localhost:8000/ws');
  ws.onopen = () => ws.send(JSON.stringify({
    type: 'default', content: userPrompt,
    config: { session_id: sessionId /*, other config… */ }
  }));
  ws.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === 'session') {
      sessionId = message.content.session_id;
      localStorage.setItem('sessionId', sessionId);
    } // other types …
  };
}
