package shapes
import ("testing";"fmt";"ablate/models/random")
func TestZ(t *testing.T){
 const n=60000
 imgs:=make([][]float32,n); ps:=make([]Prompt,n)
 for i:=range n { r:=random.Stream(8,"test","render",i); sc:=NewScene(r,Prompt{}); imgs[i]=make([]float32,Pixels); sc.Render(r,imgs[i]); ps[i]=sc.Prompt}
 for _,TA=range []float64{0,1./24,1./12,1./8,1./6} { for _,TR=range []float64{2.0,2.2,2.4} {
  sk,wc,wb,wo:=0,0,0,0; rs:=map[string]int{}
  for i:=range n { g:=Read(imgs[i]); if !g.Readable(){sk++; rs[g.Reason]++} else if !g.Satisfies(ps[i]) { q:=ps[i]; q[Shape]=0; if !g.Satisfies(q) {wo++} else if ps[i][Shape]==1 {wc++} else {wb++} } }
  fmt.Printf("%.3f %.1f skip %d wrong circle %d bar %d other %d %v\n",TA,TR,sk,wc,wb,wo,rs)
 }}
}
