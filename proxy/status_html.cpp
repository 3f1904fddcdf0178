#include "proxy/status_page.h"

namespace mssl::proxy {

std::string_view status_html() {
    return R"html(<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>mSSL</title>
<meta name="viewport" content="width=device-width">
<style>
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.4em}h2{font-size:1.1em;margin:1.6em 0 .4em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2em .8em .2em 0;border-bottom:1px solid #ddd;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}td.u{overflow-wrap:anywhere}progress{width:8em}
.bad{color:#a00}.dim{color:#777}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}.bad{color:#f77}}
</style>
<h1>mSSL <span id="what" class="dim"></span></h1>
<noscript>The same as text: <a href="/status.json">/status.json</a>, <a href="/metrics">/metrics</a>.</noscript>
<p id="trouble" class="bad"></p>
<div id="body"></div>
<p class="dim"><a href="/status.json">status.json</a> · <a href="/metrics">metrics</a></p>
<script>
"use strict";
const units=["B","KiB","MiB","GiB","TiB"];
function size(n){let i=0;while(n>=1024&&i<4){n/=1024;i++}return (i?n.toFixed(1):n)+" "+units[i]}
function el(tag,text,kind){const e=document.createElement(tag);if(text!==undefined)e.textContent=text;if(kind)e.className=kind;return e}
function table(title,head,rows){
  const out=document.createDocumentFragment();out.append(el("h2",title));
  if(!rows.length){out.append(el("p","none","dim"));return out}
  const t=el("table"),h=el("tr");head.forEach(x=>h.append(el("th",x)));t.append(h);
  rows.forEach(r=>{const tr=el("tr");r.forEach(c=>{const td=el("td");
    if(c instanceof Node)td.append(c);else{td.textContent=c;td.className=typeof c==="number"?"n":"u"}tr.append(td)});t.append(tr)});
  out.append(t);return out}
function bar(part,whole){const p=el("progress");p.max=whole||1;p.value=whole?part:1;p.title=size(part)+" of "+size(whole);return p}
function draw(s){
  const b=document.createDocumentFragment();
  document.getElementById("what").textContent=[s.version,(s.role||[]).join(" and "),"up "+Math.floor(s.uptime/60)+" min"].join(" · ");
  if(s.transfers)b.append(table("Transfers",["URL","state","","server","peers","store","given","readers"],s.transfers.map(t=>
    [t.url,t.state+(t.last_error?": "+t.last_error:""),bar(t.verified,t.length),size(t.from_server),size(t.from_peers),size(t.from_store),size(t.to_peers),t.readers])));
  const cut=(s.transfers||[]).flatMap(t=>t.cut.map(c=>[t.url,c]));
  if(cut.length)b.append(table("Peers that were cut",["URL","who and why"],cut));
  if(s.objects)b.append(table("Objects served",["URL","state","hashed","length"],s.objects.map(o=>[o.url,o.state,bar(o.hashed,o.bytes),size(o.bytes)])));
  if(s.sites)b.append(table("Sites",["host","server","fallback","membership"],s.sites.map(x=>
    [x.host+":"+x.port,x.server,x.fallback,x.enrolled?"until "+new Date(x.expires*1000).toISOString().slice(0,16):"not enrolled yet"])));
  if(s.store)b.append(table("Store",["objects","used","health"],[[s.store.objects,size(s.store.used_bytes),s.store.healthy?"good":s.store.error]]));
  b.append(table("Counters",["",""],Object.entries(s.counters).filter(c=>c[1]).map(c=>[c[0].replaceAll("_"," "),c[1]])));
  document.getElementById("body").replaceChildren(b)}
async function poll(){
  const trouble=document.getElementById("trouble");
  try{draw(await(await fetch("/status.json")).json());trouble.textContent=""}catch(e){trouble.textContent="The daemon does not answer: "+e}
  setTimeout(poll,2000)}
poll();
</script>
</html>
)html";
}

}  // namespace mssl::proxy
