import { mount } from 'svelte'
import App from './page/App.svelte'
import './styles/tokens.css'
import './styles/base.css'
import './styles/prose.css'
import './styles/diff.css'

mount(App, { target: document.getElementById('page')! })
