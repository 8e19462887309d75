// The page around the sample. The sample is not touched: it finds `userPrompt`, and a WebSocket that can be listened to.
'use strict'

var userPrompt = ''
var link = null

// The sample names port 8000 of localhost; this page may have come from another port, another name, or through https.
const Plain = window.WebSocket
window.WebSocket = class extends Plain {
  constructor(url, protocols) {
    const here = new URL(url)
    here.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
    here.host = location.host
    super(here, protocols)
    link = this
    this.addEventListener('open', () => say('Connected.'))
    this.addEventListener('close', (event) => say(`Closed (${event.code}). Connect again to go on.`))
    this.addEventListener('message', (event) => received(JSON.parse(event.data)))
  }
}

const $ = (id) => document.getElementById(id)
const say = (text) => { $('state').textContent = text }

function received(message) {
  const { type, content } = message
  const item = document.createElement('li')
  item.className = type
  const name = document.createElement('b')
  name.textContent = type
  item.append(name, typeof content === 'string' ? content : (content.text ?? content.message ?? JSON.stringify(content, null, 1)))
  $('log').append(item)
  item.scrollIntoView({ block: 'nearest' })
  if (type === 'question' || type === 'confirmation') ask(type, typeof content === 'string' ? content : content.text)
  if (type === 'completed') $('reply').hidden = true
  if (type === 'session') say(`Connected to ${content.session_id}.`)
}

function ask(type, text) {
  const yesOrNo = type === 'confirmation'
  $('reply').dataset.type = type
  $('asked').textContent = text || 'Answer'
  $('answer').hidden = $('send').hidden = yesOrNo
  $('verdicts').hidden = !yesOrNo
  $('reply').hidden = false
  if (!yesOrNo) $('answer').focus()
}

addEventListener('DOMContentLoaded', () => {
  $('prompt').value = localStorage.getItem('samplePrompt') ?? $('prompt').value
  $('ask').addEventListener('submit', (event) => {
    event.preventDefault()
    userPrompt = $('prompt').value
    localStorage.setItem('samplePrompt', userPrompt)
    if (link) link.close()
    $('log').replaceChildren()
    $('reply').hidden = true
    connect()
  })
  $('forget').addEventListener('click', () => {
    localStorage.removeItem('sessionId')
    sessionId = null
    say('The next connection starts a new session.')
  })
  $('reply').addEventListener('submit', (event) => {
    event.preventDefault()
    const type = $('reply').dataset.type
    const content = type === 'confirmation' ? event.submitter.name : $('answer').value
    link.send(JSON.stringify({ type, content }))
    $('reply').hidden = true
    $('answer').value = ''
  })
})
