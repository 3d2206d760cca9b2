package checker
import ("testing";"fmt")
func TestDbg(t *testing.T){
 w:=newWorld(49,120); fmt.Println(w.finish(20000))
 for _,tk:=range w.tasks { for _,l:=range tk.logs{ for _,h:=range l { if h.state!=durable { fmt.Println(tk.p,h.pos,h.spec,h.gen,h.hop,h.due,h.state,tk.behind(h),tk.store[idOf(h)]) } } }
  for id,r:=range tk.store { if r.strict&&!r.done&&!r.final { fmt.Println("  ",id,r) } } }
}
